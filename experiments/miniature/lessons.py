"""The lessons of a base model: contexts in which everything is drawn anew, so that only reading helps."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from experiments.miniature.passages import Ask, Passage, draw_subjects, entity_names, make_passages
from experiments.miniature.tokenizer import PHRASES
from synthctx_data.prompts import Wording, wordings
from synthctx_data.seeding import Stream
from synthctx_data.world.entities import KINDS, RELATIONS
from synthctx_data.world.names import words
from training.tiny import SPECIAL

_INSTRUCTION, _NUMBER, _NUMBER_END, _BREAK, _REQUEST, _QUESTION = PHRASES
# Weights in the loss: of tokens that cannot be predicted, of an answer's tokens, and of its first token.
ELSEWHERE, ANSWER, FIRST = 0.02, 1.0, 3.0
_APART = 3  # the most tokens between the words of a pair
_TURNS = (1, 2, 3)  # the tokens that stand between a question and its answer
_FIRST_WORD = len(SPECIAL)  # all tokens below are special
Lesson = tuple[list[int], list[float]]  # tokens, and the weight of each


def templated(stream: Stream, count: int) -> list[Passage]:
    """Passages in the wording of the templated variants, on different subjects of one kind. Their relations are drawn anew."""
    kind = stream.choice(KINDS)
    of_kind = [relation for relation in RELATIONS if relation.subject == kind]
    asked = stream.choice(of_kind)
    found = []
    for subject in draw_subjects(stream, kind, count):
        others = stream.shuffled([relation for relation in of_kind if relation is not asked])
        sentences, asks = [], []
        for relation in stream.shuffled([asked, *others[: stream.below(3) == 0]]):
            value = stream.choice(entity_names(relation.object))
            stated, questions = _wordings(relation.name)
            sentences.append(stream.choice(stated).fill(subject=subject, object=value))
            asks.append(Ask(stream.choice(questions).fill(subject=subject), value))
        found.append(Passage(subject, " ".join(sentences), tuple(asks)))
    return found


@cache
def _wordings(relation: str) -> tuple[Sequence[Wording], Sequence[Wording]]:
    address = "mdqa_synth/templated"
    return wordings(address, relation, "subject", "object"), wordings(address, f"ask_{relation}", "subject")


def symbolic(stream: Stream, count: int) -> list[Passage]:
    """Passages of a key and a value, as in the symbolic variants."""
    parts = words() * 2
    found = []
    for _ in range(count):
        key, value = ("-".join(map(stream.choice, parts)) for _ in range(2))
        found.append(Passage("", f"{key}: {value}", (Ask(f"What is the value of {key}?", value),)))
    return found


def plain(stream: Stream, count: int) -> list[Passage]:
    """Passages of a key and a value of one word each, with very short questions, so that many fit into a context."""
    drawn = stream.shuffled(_plain_words())[: 2 * count]
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    return [Passage("", f"{key}: {value}", (Ask(f"{key}?", value),)) for key, value in pairs]


@cache
def _plain_words() -> list[str]:
    named = (word for kind in ("person", "organisation") for name in entity_names(kind) for word in name.split())
    return sorted({*named, *(word for part in words() for word in part)})


WRITERS: dict[str, Callable[[Stream, int], list[Passage]]] = {
    "real": make_passages,
    "templated": templated,
    "symbolic": symbolic,
    "plain": plain,
}


def conversation(stream: Stream, tokenizer: PreTrainedTokenizerFast, tokens: int, kind: str) -> Lesson:
    """A lesson of at most `tokens` tokens: documents as a builder lays them out, then questions, each with its answer."""
    opening, documents = _documents(stream, tokenizer, tokens, kind)
    turns = []
    for _ in documents:
        # A document can be drawn twice. Otherwise, the answers already given would narrow down the next one.
        ask = stream.choice(stream.choice(documents).asks)
        turns += [f"<|user|>{opening}{_QUESTION} {ask.question}{_REQUEST}<|end|><|assistant|>", f"{ask.answer}<|end|>"]
        opening = ""
    ids: list[int] = []
    weights: list[float] = []
    for i, turn in enumerate(_encode(tokenizer, turns)):
        ids += turn
        weights += [FIRST, *[ANSWER] * (len(turn) - 1)] if i % 2 else [ELSEWHERE] * len(turn)
    return ids[:tokens], weights[:tokens]


def _documents(stream: Stream, tokenizer: PreTrainedTokenizerFast, tokens: int, kind: str) -> tuple[str, list[Passage]]:
    """The text of an instruction and documents, and the documents: at least two, enough to fill a random share of a context."""
    documents = WRITERS[kind](stream, max(tokens // 16, 2))
    if stream.below(2):
        documents = stream.shuffled([*documents[::2], *WRITERS[kind](stream, max(tokens // 32, 1))])
    numbered = [
        f"{_NUMBER}{i}{_NUMBER_END}{one.title}{chr(10) * bool(one.title)}{one.text}{_BREAK}"
        for i, one in enumerate(documents, 1)
    ]
    room = tokens * (0.35 + 0.4 * stream.uniform())
    filled = np.cumsum([len(one) for one in _encode(tokenizer, numbered)])
    count = max(2, int((filled < room).sum()))
    return _INSTRUCTION + "".join(numbered[:count]), documents[:count]


def _encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    found: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return found


def copying(stream: Stream, vocabulary: int, tokens: int) -> Lesson:
    """A lesson of repeated tokens: a segment again and again, or pairs in a new order each time, perhaps with tokens inside."""
    size = 2 + stream.below(tokens // 2 - 2)
    if stream.below(2):
        segment = [_FIRST_WORD + word for word in stream.integers(vocabulary - _FIRST_WORD, size)]
        ids = (segment * (tokens // size + 1))[:tokens]
        return ids, [ELSEWHERE] * size + [ANSWER] * (tokens - size)
    drawn = [_FIRST_WORD + word for word in stream.integers(vocabulary - _FIRST_WORD, size // 2 * 2)]
    pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
    apart = stream.below(2) * _APART
    ids, weights = [], []
    weight = ELSEWHERE
    while len(ids) < tokens:
        for key, value in stream.shuffled(pairs):
            between = stream.integers(len(_TURNS), stream.below(apart + 1))
            ids += [key, *(_TURNS[i] for i in between), value]
            weights += [ELSEWHERE] * (1 + len(between)) + [weight]
        weight = ANSWER
    return ids[:tokens], weights[:tokens]


def batch(lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
    """The tokens and the weights (lesson, token) of the lessons, padded with zeros on the right."""
    width = max(len(ids) for ids, _ in lessons)
    ids = torch.tensor([one + [0] * (width - len(one)) for one, _ in lessons])
    weights = torch.tensor([one + [0.0] * (width - len(one)) for _, one in lessons])
    return ids, weights
