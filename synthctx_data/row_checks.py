"""Checks of one row, which need no other row: so any process can make them. `checks.py` puts what they find together."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from synthctx_data.assemble import MOST_UNKNOWN
from synthctx_data.depths import Places, places
from synthctx_data.evidence import all_together, answer_of
from synthctx_data.example import CHAT, cite, is_citation
from synthctx_data.matching import comparable, comparables, one_says, says
from synthctx_data.metrics import answer_f1, best_subspan_em, citation_score, exact_match
from synthctx_data.rules import title_of
from synthctx_data.tokens import TokenCounter

Row = Mapping[str, Any]

_RECOUNTED = 20  # the first 20 rows of a split are counted again, and every 20th row after them
_KEY = re.compile(r"^\S+:", re.MULTILINE)


@dataclass(frozen=True)
class Expected:
    """The properties that rows are checked against.

    max_tokens: the budget; None means the tokens of the largest row.
    budgets: the budgets of a mixture, of which each row keeps one; empty if there is only one.
    depths: the depths that were asked for, in [0, 1]; empty means uniform depths, and None any.
    stands_out: the reason why needles stand out by design, so that a rule that never reads the question may find them; empty if
        they must not. In rows of padding they always may.
    counter: the tokenizer that num_tokens was counted with; None means that num_tokens is not checked.
    questions: the most rows that may share a context.
    name: the task and the variant, with which the ids of rows begin; empty means that ids are not checked.
    fingerprint: the fingerprint of the manifest that this was read from; empty if there is none.
    sizes: the number of rows of each split; None means any.
    tokenizer: the place of the tokenizer that `counter` is for; None means the bundled one.
    """

    max_tokens: int | None = None
    depths: tuple[float, ...] | None = ()
    stands_out: str = ""
    counter: TokenCounter | None = None
    questions: int = 1
    budgets: tuple[int, ...] = ()
    name: str = ""
    fingerprint: str = ""
    sizes: Mapping[str, int] | None = None
    tokenizer: str | None = None


@dataclass(slots=True)
class Told:
    """A text that only one row may have: its hash, and its beginning for messages."""

    key: bytes
    short: str


@dataclass(slots=True)
class RowFindings:
    """The findings in one row: its faults (each a kind and a message), and what other rows are compared with.

    asked, fact: the needles that it asks for, and its question with the answers; None if its spans are wrong, or if it is a chat.
    context: a hash of its documents.
    places: the places of its needles; None as above.
    """

    id: str
    tokens: int
    faults: list[tuple[str, str]] = field(default_factory=list)
    asked: Told | None = None
    fact: Told | None = None
    context: bytes = b""
    places: Places | None = None
    is_padded: bool = False


def check_row(expected: Expected, row: Row, number: int) -> RowFindings:
    """The findings in a row, which is the one of this number (from 0) in its split."""
    found = RowFindings(row["id"], row["num_tokens"])
    if row["concept_expression"] == CHAT:
        return found
    wrong = wrong_spans(row)
    if wrong:
        found.faults.append(("spans", f"{row['id']}: {wrong}"))
        return found  # the other checks read by spans, and these are wrong
    _RowCheck(expected, row, number, found).run()
    return found


class _RowCheck:
    def __init__(self, expected: Expected, row: Row, number: int, found: RowFindings) -> None:
        self._expected, self._row, self._number, self._found = expected, row, number, found

    def run(self) -> None:
        row = self._row
        self._leak(row)
        self._shortcut(row)
        self._repetitions(row)
        self._placed(row)
        self._metric(row)
        self._recount(row)

    def _fault(self, kind: str, message: str) -> None:
        self._found.faults.append((kind, message))

    def _leak(self, row: Row) -> None:
        if cites(row):
            self._uncited(row)
            return
        outside = outside_last_needle(row)
        if row["concept_expression"] == "symbolic" and len(row["needles"]) > 1:
            outside = (
                _KEY.sub("", piece) for piece in outside
            )  # the chain goes on behind the answer, which is a key there
        answers = comparables(row["answers"])
        if one_says(outside, answers):
            self._fault("leak", f"{row['id']}: an answer of {row['answers']!r} stands outside its needle")

    def _uncited(self, row: Row) -> None:
        prompt = row["prompt"][0]["content"]
        needles = comparables(prompt[n["start"] : n["end"]] for n in row["needles"])
        cited = {needle["document"] for needle in row["needles"]}
        for number, document in enumerate(row["documents"]):
            if number not in cited and says(prompt[document["start"] : document["end"]], needles):
                self._fault("leak", f"{row['id']}: document {number + 1} has the words of a needle, and is not cited")

    def _shortcut(self, row: Row) -> None:
        if len(row["needles"]) < 2 or cites(row) or asks_all(row):
            return
        prompt = row["prompt"][0]["content"]
        texts = [prompt[d["start"] : d["end"]] for d in row["documents"]]
        at = [needle["document"] for needle in row["needles"]]
        for hop, (subject, answer) in enumerate(links(row)):
            # The first subject is a guess, and the second hop's document is about the first answer: it may hold both.
            own = at[:2] if hop == 0 else [at[hop]]
            for number, text in enumerate(texts if subject and answer else ()):
                if number not in own and says(text, [subject]) and says(text, [answer]):
                    self._fault(
                        "shortcut", f"{row['id']}: document {number + 1} links {subject!r} and {answer!r} of hop {hop}"
                    )

    def _repetitions(self, row: Row) -> None:
        prompt = row["prompt"][0]["content"]
        needles = "\n".join(prompt[needle["start"] : needle["end"]] for needle in row["needles"])
        asked = f"{row['question']}\n" if cites(row) else ""  # one document may be cited for several insights
        self._found.asked = _told(asked + needles)
        answers = "" if cites(row) else sorted(row["answers"])
        self._found.fact = _told(f"{comparable(row['question'])}\n{answers}")
        documents = [prompt[d["start"] : d["end"]] for d in row["documents"]]
        if row["context_diversity"] != "padding":
            # The same text below another title is the same document.
            (text, times), *_ = Counter(text[len(title_of(text)) :].strip() for text in documents).most_common(1)
            if times > 1:
                self._fault("distractors", f"{row['id']}: {times} times the document {short(text)}")
        self._found.context = _digest("\n".join(documents))

    def _placed(self, row: Row) -> None:
        found = places(row)
        self._found.places = found
        asked = self._expected.depths
        for place, depth in zip(found.taken, found.needles, strict=True):
            if asked and not any(found.is_nearest(place, wanted) for wanted in asked):
                wanted = ", ".join(map(str, asked))
                self._fault("depth", f"{row['id']}: a needle at depth {depth:.2f}, where {wanted} were asked for")

    def _metric(self, row: Row) -> None:
        completion, answers = answer_of(row["completion"][0]["content"]), row["answers"]
        scores = (
            {"citation F1": citation_score(completion, completion).f1}
            if cites(row)
            else {metric.__name__: metric(completion, answers) for metric in (answer_f1, exact_match, best_subspan_em)}
        )
        for name, score in scores.items():
            if score != 1:
                self._fault("metric", f"{row['id']}: the {name} of its own answer {short(completion)} is {score:.2f}")
        if not all(map(comparable, answers)):
            self._fault(
                "metric", f"{row['id']}: nothing is left of one of its answers {answers!r} if they are normalised"
            )
        self._found.is_padded = row["context_diversity"] == "padding"

    def _recount(self, row: Row) -> None:
        counter = self._expected.counter
        number = self._number + 1
        if counter is None or (number > _RECOUNTED and number % _RECOUNTED):
            return
        tokens = counter.conversation(row["prompt"][0]["content"], row["completion"][0]["content"])
        unknown = counter.unknown(row["prompt"][0]["content"])
        if unknown > MOST_UNKNOWN:
            self._fault("tokens", f"{row['id']}: {unknown:.0%} of its tokens are unknown to the tokenizer")
        special = counter.first_special(row["prompt"][0]["content"])
        if special:
            self._fault(
                "tokens", f"{row['id']}: {special!r}, a special token of the tokenizer, stands in the user message"
            )
        if tokens != row["num_tokens"]:
            self._fault("tokens", f"{row['id']}: num_tokens is {row['num_tokens']}, the tokenizer counts {tokens}")


def documents_of(row: Row) -> str:
    """The user message of a row up to the end of its last document. Rows on one context have it in common.

    Of a row without documents, a chat, it is all messages.
    """
    if row["documents"]:
        message: str = row["prompt"][0]["content"]
        return message[: row["documents"][-1]["end"]]
    return "\n".join(message["content"] for message in row["prompt"])


def cites(row: Row) -> bool:
    """True if the answer of a row cites the documents that hold its needles, such as "[3][17]"."""
    return is_citation(row["completion"][0]["content"])


def asks_all(row: Row) -> bool:
    """True if a row asks for the answers of all of its needles together, or for their number."""
    prompt = row["prompt"][0]["content"]
    said = all_together([prompt[needle["answer_start"] : needle["answer_end"]] for needle in row["needles"]])
    return len(row["needles"]) > 1 and answer_of(row["completion"][0]["content"]) in said


def wrong_spans(row: Row) -> str:
    """The fault in the spans of a row, in words; empty if there is none."""
    prompt, completion = row["prompt"][0]["content"], row["completion"][0]["content"]
    documents = row["documents"]
    edges = [edge for d in documents for edge in (d["start"], d["end"])]
    if any(a > b for a, b in pairwise([0, *edges, len(prompt)])):
        return f"documents overlap or end beyond the {len(prompt)} characters of the prompt"
    right = comparables(row["answers"])
    if comparable(answer_of(completion)) not in right:
        return f"the completion {completion!r} is none of the answers {row['answers']!r}"
    if not row["needles"]:
        return "no needle"
    if cites(row):
        return _wrong_citation(row)
    wrong = next(filter(None, (_wrong_needle(needle, documents) for needle in row["needles"])), "")
    last = row["needles"][-1]
    text = prompt[last["answer_start"] : last["answer_end"]]
    if not wrong and comparable(text) not in right and not asks_all(row):
        return f"the answer span reads {text!r}, and the answers are {row['answers']!r}"
    return wrong


def _wrong_needle(needle: Mapping[str, int], documents: Sequence[Mapping[str, int]]) -> str:
    if not 0 <= needle["document"] < len(documents):
        return f"needle {needle['hop']} is in document {needle['document']} of {len(documents)}"
    document = documents[needle["document"]]
    inner = [needle[edge] for edge in ("start", "answer_start", "answer_end", "end")]
    edges = [document["start"], *inner, document["end"]]
    if any(a > b for a, b in pairwise(edges)) or needle["start"] == needle["end"]:
        return f"needle {needle['hop']} or its answer is not inside document {needle['document']}"
    return ""


def _wrong_citation(row: Row) -> str:
    prompt, completion = row["prompt"][0]["content"], row["completion"][0]["content"]
    for needle in row["needles"]:
        answer = prompt[needle["answer_start"] : needle["answer_end"]]
        above = {**needle, "answer_start": needle["start"], "answer_end": needle["end"]}
        wrong = _wrong_needle(above, row["documents"])
        if wrong:
            return wrong
        if answer != str(needle["document"] + 1):
            return f"the answer span reads {answer!r}, and its needle is in document {needle['document'] + 1}"
    cited = cite(needle["document"] for needle in row["needles"])
    return "" if cited == completion else f"the needles are in {cited}, and the completion is {completion!r}"


def outside_last_needle(row: Row) -> Iterable[str]:
    """The text of all documents outside the needle of the last hop, in pieces."""
    prompt = row["prompt"][0]["content"]
    last = row["needles"][-1]
    for number, document in enumerate(row["documents"]):
        if number == last["document"]:
            yield prompt[document["start"] : last["start"]]
            yield prompt[last["end"] : document["end"]]
        else:
            yield prompt[document["start"] : document["end"]]


def links(row: Row) -> list[tuple[str, str]]:
    """The normalised subject and answer of every hop; either may be empty.

    The subject of the first hop is the longest run of words that its needle and the question share. The subject of every
    other hop is the answer of the hop before.
    """
    prompt = row["prompt"][0]["content"]
    answers = [comparable(prompt[n["answer_start"] : n["answer_end"]]) for n in row["needles"]]
    first = row["needles"][0]
    subject = common_words(row["question"], prompt[first["start"] : first["end"]])
    return list(pairwise([subject, *answers]))


def common_words(one: str, other: str) -> str:
    """The run of normalised words that two texts share and that has the most characters; empty if they share none."""
    mine, theirs = comparable(one).split(), comparable(other).split()
    best = ""
    ending = [""] * (len(theirs) + 1)  # the shared run that ends at each word of theirs and at the current word of mine
    for word in mine:
        ending = [
            "",
            *(f"{run} {word}".strip() if word == their else "" for run, their in zip(ending, theirs, strict=False)),
        ]
        best = max(best, *ending, key=len)
    return best


def _told(text: str) -> Told:
    return Told(_digest(text), short(text))


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def short(text: str) -> str:
    """A text on one line, cut to 60 characters, for messages."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else line[:57] + "...")
