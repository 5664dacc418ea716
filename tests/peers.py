"""The rows and models on which the functions of other projects were run, beside ours. What these gave is in data/peers.json."""

from dataclasses import replace

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from analysis.spans import Tokens
from training.turns import load_tokenizer

ENTRIES = [
    ("amber-anchor-ancient", "apple-autumn-arrow-empty"),
    ("bitter-ash-blue", "atlas-bright-bakery-endless"),
    ("broken-balcony-bronze", "barrel-burning-basket-fallen"),
    ("careful-beacon-cold", "bell-copper-bird-final"),
]


def entries(folder: str, asked: int = 2) -> Tokens:
    """A list of keys and values, and a key of it once more with the first word of its value, which the tiny model goes on with."""
    tokenizer = load_tokenizer(folder)
    documents, ids = [], []
    for key, value in ENTRIES:
        start = len(ids)
        ids += tokenizer(f"{key}: {value}\n", add_special_tokens=False)["input_ids"]
        documents.append(range(start, len(ids) - 1))
    key, value = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ENTRIES[asked])
    question = range(len(ids), len(ids) + len(key))
    ids += [*key, *tokenizer(":", add_special_tokens=False)["input_ids"], value.pop(0)]
    prompt = len(ids)
    needle = documents[asked]
    return Tokens(
        id="entries",
        ids=(*ids, *value, tokenizer.eos_token_id),
        prompt=prompt,
        answer=range(prompt, prompt + len(value)),
        question=question,
        needles=(range(needle.stop - len(value), needle.stop),),
        gold=(needle,),
        documents=tuple(documents),
    )


def neutral_entries(folder: str) -> Tokens:
    """The same list, and another question: a key that is not in it."""
    tokens, tokenizer = entries(folder), load_tokenizer(folder)
    other = tokenizer("gentle-corner-giant", add_special_tokens=False)["input_ids"]
    ids = [*tokens.ids]
    ids[tokens.question.start : tokens.question.stop] = other
    return replace(tokens, ids=tuple(ids))


def load_stirred(folder: str, attention: str | None = None) -> PreTrainedModel:
    """The tiny model with a wave on every weight, so that every head attends to something and writes something."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "mlp" in name:  # whose weights are drawn at random, and may be others under another version of torch
                continue
            wave = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 0.7)
            parameter.add_((0.02 * wave).reshape(parameter.shape).to(parameter))
    return model


def full_attentions(model: PreTrainedModel, ids: tuple[int, ...]) -> torch.Tensor:
    """The attention weights (layer, head, row, key) of a model with eager attention."""
    with torch.no_grad():
        return torch.stack([a[0] for a in model(torch.tensor([ids]), output_attentions=True).attentions])
