"""Real files for tests: a corpus, tokenizers of every make, and builds."""

import atexit
import os
import shutil
import string
import tempfile
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["COLUMNS"] = "100"
os.environ.setdefault("SYNTHCTX_CACHE", f"{tempfile.gettempdir()}/synthctx-tests-{os.getpid()}")
os.environ["OMP_NUM_THREADS"] = "1"  # of several workers, each with a thread a core, each waits for the others

from builders import TASKS
from builders.examples import Examples
from builders.writing.sample import SIZES
from synthctx_data.options import Options

atexit.register(shutil.rmtree, f"{tempfile.gettempdir()}/synthctx-tests-{os.getpid()}", ignore_errors=True)
DATA = Path(__file__).parent / "data"
CORPUS = DATA / "nq-open-oracle-500.jsonl.gz"
CORPORA = {
    "mdqa_synth": CORPUS,
    "musique_synth": DATA / "musique-ans.jsonl.gz",
    "summhay_synth": DATA / "summhay-topic.jsonl.gz",
}
VARIANTS = [(task, variant) for task in TASKS for variant in TASKS[task].variants]
IDS = [f"{task}-{variant}" for task, variant in VARIANTS]


def options_for(task: str, variant: str, **options: object) -> Options:
    """Small options with which the variant can be built."""
    options.setdefault("max_tokens", 1024)
    if (task, variant) == ("summhay_synth", "real_haystack"):
        options["max_tokens"] += 7000  # its documents have more than a thousand tokens each
    options.setdefault("train", 12)
    options.setdefault("validation", 4)
    expression = variant.partition("_")[0]
    if (task, expression) in SIZES:  # the sample has no more
        train, validation = SIZES[task, expression]
        options["train"], options["validation"] = min(options["train"], train), min(options["validation"], validation)
        if expression == "grounded":
            options["max_tokens"] = max(options["max_tokens"], 4096)  # chains of long passages need as much
        if variant == "llm_haystack":
            options.setdefault("pool_size", 64)
    if (task, variant) == ("musique_synth", "real_limited"):  # few of the questions here are of that kind
        options["train"], options["validation"] = min(options["train"], 4), 0
    if variant.startswith("real"):
        if task == "musique_synth":
            options["validation"] = min(options["validation"], 1)  # a tenth of few questions of each number of hops
        options.setdefault("corpus", (str(CORPORA[task]),))
    if task == "musique_synth" and not variant.startswith(("llm", "grounded")):
        options.setdefault("hops", "2" if variant == "real_limited" else "2:4,3:1,4:1")
    return Options(**options)


def examples_for(task: str, variant: str, **options: object) -> Examples:
    return Examples(TASKS[task], variant, options_for(task, variant, **options))


def every_example(examples: Examples) -> list:
    return [examples.make(split, i) for split, size in examples.sizes.items() for i in range(size)]


TEXTS = [
    "Read the numbered documents below. One of them answers the question that follows; the others do not.\n\n",
    "Document [1]\nThe Silent Harbor\nThe Silent Harbor was written by Dorla Hamley in 1923.\n\n",
    "Question: who wrote it?\nAnswer with a short phrase, taken from the documents word for word.\n",
    "The quick brown fox jumps over the lazy dog, 1,234 times; was it là-bas? Ünïcödé says so.\n\n",
] * 8


_ASCII = string.ascii_letters + string.digits + string.punctuation


def _byte_level() -> Tokenizer:
    """As GPT-2 and Llama 3: words with their space, then bytes, then merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def _metaspace() -> Tokenizer:
    """As Llama 2: no splitting at all, a mark before the text and for each space, bytes for what is unknown."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=100,
        show_progress=False,
    )
    lines = [line for text in TEXTS for line in text.split("\n") if line]
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    return tokenizer


def _unigram() -> Tokenizer:
    """As T5: line ends become spaces."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(
            vocab_size=300,
            unk_token="<unk>",
            special_tokens=["<unk>"],
            initial_alphabet=[*_ASCII],
            show_progress=False,
        ),
    )
    return tokenizer


def _characters() -> Tokenizer:
    """A token a character, and none for spaces and line ends, as BERT's drop them."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, **{c: i for i, c in enumerate(_ASCII, 1)}}, unk_token="<unk>"))
    one_each = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), one_each])
    tokenizer.add_special_tokens(["<unk>"])
    return tokenizer


def _bytes() -> Tokenizer:
    """A token a byte."""
    tokenizer = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def _across_lines() -> Tokenizer:
    """Merges across line ends: the count of a text is not the sum of its lines'."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        ["\n\nDocument [", "]\nThe ", ".\n\nDocument [", "s.\n\nD"] * 9,
        trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False),
    )
    return tokenizer


MAKES = {
    "byte_level": _byte_level,
    "metaspace": _metaspace,
    "unigram": _unigram,
    "characters": _characters,
    "bytes": _bytes,
    "across_lines": _across_lines,
}


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths of tokenizer.json files by make."""
    folder = tmp_path_factory.mktemp("tokenizers")
    paths = {}
    for name, make in MAKES.items():
        (folder / name).mkdir()
        paths[name] = str(folder / name / "tokenizer.json")
        make().save(paths[name])
    return paths
