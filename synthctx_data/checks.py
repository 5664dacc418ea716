"""Checks of the rows of a data set: faults that make it unfit to train on or to test with."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from synthctx_data.assemble import MOST_UNKNOWN, least_tokens
from synthctx_data.depths import DepthHistogram, places
from synthctx_data.evidence import all_together, answer_of
from synthctx_data.example import CHAT, cite, is_citation
from synthctx_data.floors import Floor
from synthctx_data.matching import comparable, comparables, one_says, says
from synthctx_data.metrics import answer_f1, best_subspan_em, citation_score, exact_match
from synthctx_data.rules import PLACES, title_of
from synthctx_data.tokens import TokenCounter

Row = Mapping[str, Any]

# Every kind of fault, with what is true of a data set without it.
FAULT_KINDS = {
    "complete": "all rows, shards and splits that build.json promises are there",
    "spans": "documents follow each other, and every needle and answer reads as itself",
    "leak": "no answer stands outside its needle",
    "shortcut": "no document but a hop's own links its subject and its answer",
    "needles": "no two rows ask the same of the same needles",
    "distractors": "no document stands twice in one haystack",
    "contexts": "no more examples have the same documents than was asked for",
    "splits": "no fact is asked for in two splits",
    "depth": "the needles' depths are as asked for",
    "fill": "at least 99 % of max_tokens are used, and never more than all",
    "tokens": "num_tokens is what the tokenizer counts",
    "metric": "every gold answer is right by its own metric",
    "blind": "no rule that never reads the question finds the needles",
}
_UNLIKELY = 1e-4  # the probability below which depths are called skewed
_FILL_BINS = 10
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


@dataclass
class Report:
    """The findings in one variant: the number of rows by split, messages about faults by kind, and two histograms.

    fill: the number of rows whose fill is in each tenth of a percent from 99 to 100. The first also counts all rows below.
    depth: the number of needles in each tenth of the context.
    padded: True if needles stand in padding, where they stand out by design.
    """

    rows: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    fill: list[int] = field(default_factory=lambda: [0] * _FILL_BINS)
    depth: list[int] = field(default_factory=list)
    padded: bool = False

    @property
    def ok(self) -> bool:
        return not any(self.faults.values())


class Checker:
    """A checker of rows: call `add` with each row, then `report`."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._report = Report()
        self._needles: dict[bytes, tuple[str, str]] = {}
        self._facts: dict[bytes, tuple[str, str]] = {}
        self._contexts: dict[bytes, list[tuple[str, int]]] = defaultdict(list)  # the ids and tokens of the rows of each
        self._depths = DepthHistogram()

    def add(self, split: str, row: Row) -> None:
        """Checks one row of a split."""
        self._identified(split, row)
        self._report.rows[split] += 1
        if row["concept_expression"] == CHAT:
            return
        wrong = wrong_spans(row)
        if wrong:
            self._fault("spans", f"{row['id']}: {wrong}")
            return  # the other checks read by spans, and these are wrong
        self._leak(row)
        self._shortcut(row)
        self._repetitions(split, row)
        self._placed(row)
        self._metric(row)
        self._recount(split, row)

    def report(self, floors: Sequence[Floor] = ()) -> Report:
        """The findings in all rows that were added, and in their floors."""
        for problem in self._missing():
            self._fault("complete", problem)
        self._check_fill()
        self._check_depth()
        for floor in floors:
            self._check_floor(floor)
        return self._report

    def _fault(self, kind: str, message: str) -> None:
        self._report.faults[kind].append(message)

    def _identified(self, split: str, row: Row) -> None:
        asked = f"{self._expected.name}/{split}/{self._report.rows[split]:06d}"
        if self._expected.name and row["id"] != asked:
            self._fault(
                "complete", f"row {self._report.rows[split]} of {split} is {_short(row['id'])}, where {asked} belongs"
            )

    def _missing(self) -> Iterable[str]:
        if not self._report.rows:
            yield "there are no rows"
        asked = self._report.rows if self._expected.sizes is None else self._expected.sizes
        for split in sorted({*asked, *self._report.rows}):
            if asked.get(split, 0) != self._report.rows[split]:
                yield f"{asked.get(split, 0):,} rows of {split} are promised, and there are {self._report.rows[split]:,}"

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

    def _repetitions(self, split: str, row: Row) -> None:
        prompt = row["prompt"][0]["content"]
        needles = "\n".join(prompt[needle["start"] : needle["end"]] for needle in row["needles"])
        asked = f"{row['question']}\n" if cites(row) else ""  # one document may be cited for several insights
        self._once("needles", self._needles, split, row, asked + needles)
        answers = "" if cites(row) else sorted(row["answers"])
        self._once("splits", self._facts, split, row, f"{comparable(row['question'])}\n{answers}")
        documents = [prompt[d["start"] : d["end"]] for d in row["documents"]]
        if row["context_diversity"] != "padding":
            # The same text below another title is the same document.
            (text, times), *_ = Counter(text[len(title_of(text)) :].strip() for text in documents).most_common(1)
            if times > 1:
                self._fault("distractors", f"{row['id']}: {times} times the document {_short(text)}")
        context = self._contexts[_digest("\n".join(documents))]
        if len(context) >= self._expected.questions:
            self._fault("contexts", f"{row['id']}: the same documents as {context[0][0]}")
        context.append((row["id"], row["num_tokens"]))

    def _once(self, kind: str, known: dict[bytes, tuple[str, str]], split: str, row: Row, text: str) -> None:
        """Reports a text that an earlier row has too: as `splits` if that row is in another split, else as `kind`."""
        key = _digest(text)
        before = known.setdefault(key, (split, row["id"]))
        if before[1] == row["id"]:
            return
        if before[0] != split:
            self._fault("splits", f"{row['id']}: the same fact as {before[1]}: {_short(text)}")
        elif kind != "splits":
            self._fault(kind, f"{row['id']}: the same needle as {before[1]}: {_short(text)}")

    def _recount(self, split: str, row: Row) -> None:
        counter = self._expected.counter
        number = self._report.rows[split]
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

    def _check_fill(self) -> None:
        most = [max(tokens for _, tokens in rows) for rows in self._contexts.values()]
        budgets = self._expected.budgets or (self._expected.max_tokens or max(most, default=1),)
        for rows, longest in zip(self._contexts.values(), most, strict=True):
            budget = min((one for one in budgets if one >= longest), default=max(budgets))
            for name, tokens in rows:  # of rows on one context, that with the longest question fills the budget
                if longest < least_tokens(budget) or tokens > budget:
                    self._fault("fill", f"{name}: {tokens} tokens, {tokens / budget:.1%} of max_tokens {budget}")
                tenth = math.floor((tokens / budget - 0.99) * 100 * _FILL_BINS)
                self._report.fill[min(max(tenth, 0), _FILL_BINS - 1)] += 1

    def _placed(self, row: Row) -> None:
        found = places(row)
        self._depths.add(found)
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
                self._fault("metric", f"{row['id']}: the {name} of its own answer {_short(completion)} is {score:.2f}")
        if not all(map(comparable, answers)):
            self._fault(
                "metric", f"{row['id']}: nothing is left of one of its answers {answers!r} if they are normalised"
            )
        self._report.padded |= row["context_diversity"] == "padding"

    def _check_floor(self, floor: Floor) -> None:
        by_design = (
            self._report.padded or self._expected.stands_out or (floor.rule in PLACES and self._expected.depths != ())
        )
        if floor.is_far and not floor.reads and not by_design:
            self._fault(
                "blind",
                f"the rule {floor.rule!r}, which never reads the question, finds {floor.score:.0%} of the needles' documents, where "
                f"chance finds {floor.chance:.0%} ({floor.rows} rows)",
            )

    def _check_depth(self) -> None:
        self._report.depth = self._depths.seen.astype(int).tolist()
        probability = self._depths.uniform_probability()
        if self._expected.depths == () and probability < _UNLIKELY:
            self._fault(
                "depth", f"depths are not uniform: chi-square over tenths of the context, p = {probability:.1e}"
            )


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


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else line[:57] + "...")
