"""Trains the bundled tokenizer: python -m synthctx_data.tokenizer.train nq-open-oracle.jsonl.gz

A byte-level BPE of 8192 tokens, trained on 2000 Wikipedia passages (CC BY-SA, from Lost in the Middle's nq-open-oracle.jsonl.gz)
and on the entities of a made-up world (synthctx_data/world). It splits words, numbers and line ends as Llama 3 does.
"""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from synthctx_data.world.entities import RELATIONS, make_world

VOCABULARY = 8192
PASSAGES = 2000
_SPECIAL = ("<|pad|>", "<|user|>", "<|assistant|>", "<|end|>")
_SPLIT = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def texts(questions: Path) -> Iterator[str]:
    """The texts to train on: the questions and passages of a file, and the entities of a made-up world."""
    with gzip.open(questions, "rt", encoding="utf-8") as lines:
        for _, line in zip(range(PASSAGES), lines, strict=False):
            row = json.loads(line)
            yield row["question"]
            for context in row["ctxs"]:
                yield f"{context['title']}\n{context['text']}\n\n"
    world = make_world(4096, "train", "tokenizer")
    for entity, objects in zip(world.entities, world.objects, strict=True):
        yield f"{entity.name}: {', '.join(objects.values())}.\n"
    yield "\n".join(f"What is the {relation.name} of it? Document [1]" for relation in RELATIONS)


def main(questions: Path, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json into the folder."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(questions), trainer)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<|pad|>",
        "eos_token": "<|end|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2**20,
        "chat_template": (
            "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
        ),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).resolve().parent)
