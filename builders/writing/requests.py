"""Requests to a language model, and the checks that decide which of its answers are used.

An *asking* is a generator that yields requests, is sent their answers, and returns a result. It never sees where an answer
comes from. So the same answers give the same texts, whether they were just paid for, lie in a store, or were exported.
"""

import json
import re
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from builders.writing.store import Answer, Request
from synthctx_data.prompts import render, source_hash

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Asking = Generator[Request, Answer, T]

MOST_ATTEMPTS = 3  # answers to one request; each after the first is asked for with the fault of the one before
MOST_DRAWS = 3  # draws of what one unit asks for
_SKETCH = 16  # shingles of a passage that are remembered
_SHINGLE = 5  # words
_NEAR = _SKETCH // 2  # remembered shingles that a copy shares with one earlier passage
_STARTS = 20  # places of an answer where its JSON object may begin
_ERROR_CHARACTERS = 120  # of an error that the model is told


class RejectedError(Exception):
    """An answer that cannot be used. `kind` names its fault in a few words, for a table; the model is told the reason.

    If it is `final`, the model is not asked again: no other answer would do.
    """

    def __init__(self, kind: str, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.kind, self.final = kind, final


class GivenUpError(Exception):
    """All draws of a row were rejected. The message is the fault of the last one."""


class AnswerLookup(Protocol):
    """A lookup of answers by the key of their request."""

    def get(self, key: str) -> Answer | None:
        """The answer to the request of this key; None if there is none."""


@dataclass(frozen=True)
class Stage:
    """A kind of request: its template and block, the form of its answer, and the answer's expected and most tokens.

    `shared` is the template with the system message, and with what follows a rejected answer. `sent` are the tokens that the request
    has, about, if it follows from an answer; 0 if it repeats that answer and the request before it.
    """

    address: str
    block: str
    form: type[BaseModel]
    expected: int
    most: int
    shared: str = "llm"
    sent: int = 0


@dataclass(frozen=True)
class Unit(Generic[T]):
    """A unit of writing: its name, the requests that it makes if nothing is rejected, and its asking.

    `passages` gives the passages that were written, by kind. A later unit may not write a copy of one of the same kind. `marks` gives
    what only one unit may have, such as the sentence that it asks about.
    """

    name: str
    stages: tuple[Stage, ...]
    asking: "Callable[[Editor], Asking[T]]"
    passages: Callable[[T], Mapping[str, Sequence[str]]]
    marks: Callable[[T], Iterable[Hashable]] = lambda _: ()


class Editor:
    """An editor, which asks for answers and judges them, in one pass over all units.

    model: the name that requests are addressed to.
    copies: the sketches of the passages that were accepted so far.
    marks: what units before have, and no other may have.
    accepted: the number of answers that could be used, by the block of their stage.
    rejected: the number of answers that could not be used, by the kind of fault.
    given_up: why units were given up, by their names: the fault of the last draw.
    in_vain: the number of answers since the last one that could be used. An answer to several units counts once.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.copies = PassageCopies()
        self.marks: set[Hashable] = set()
        self.accepted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.given_up: dict[str, str] = {}
        self.in_vain = 0
        self._judged: set[str] = set()  # the keys of rejected answers

    def ask(self, unit: str, stage: Stage, prompt: str, check: Callable[[M], T]) -> Asking[tuple[T, str]]:
        """The result of `check` for the first answer that it does not reject, and the model that wrote that answer.

        Raises: RejectedError if the last attempt was rejected too.
        """
        messages = [
            {"role": "system", "content": render(stage.shared, "system").strip()},
            {"role": "user", "content": prompt.strip()},
        ]
        for attempt in range(1, MOST_ATTEMPTS + 1):
            body = {"model": self.model, "messages": list(messages), "max_tokens": stage.most}
            request = Request(body, source_hash(stage.shared, stage.address), f"{unit}/{stage.block}", stage.form)
            answer = yield request
            try:
                made = check(parse_answer(stage.form, answer))  # type: ignore[arg-type]
            except RejectedError as error:
                self.rejected[error.kind] += 1
                self.in_vain += request.key not in self._judged
                self._judged.add(request.key)
                if error.final or attempt == MOST_ATTEMPTS:
                    raise
                messages[2:] = _again(stage.shared, answer, str(error), attempt + 1)
            else:
                self.accepted[stage.block] += 1
                self.in_vain = 0
                return made, answer.model
        raise AssertionError

    def draw(self, write: Callable[[int], Asking[T]], most: int = MOST_DRAWS) -> Asking[T]:
        """The result of the first of `most` draws that is not rejected.

        Raises: GivenUpError if all draws are rejected.
        """
        fault = ""
        for number in range(most):
            try:
                return (yield from write(number))
            except (RejectedError, GivenUpError) as error:
                fault = str(error)
        raise GivenUpError(fault)

    def reject(self, kind: str, reason: str) -> NoReturn:
        """Counts a fault that several answers together show. Raises: RejectedError."""
        self.rejected[kind] += 1
        raise RejectedError(kind, reason)

    def refuse_marks(self, marks: Iterable[Hashable]) -> None:
        """Raises: RejectedError if a unit before has one of these."""
        if not self.marks.isdisjoint(marks):
            raise RejectedError(
                "asked already", "another question is about the same sentence; ask about another part of the passage"
            )

    def refuse_copies(self, kind: str, passages: Iterable[str]) -> None:
        """Raises: RejectedError for a passage that nearly repeats an accepted one of its kind, or one of these before it."""
        these: list[frozenset[int]] = []
        for passage in passages:
            mine = sketch(passage)
            if self.copies.has_near(kind, mine) or any(len(mine & other) >= _NEAR for other in these):
                raise RejectedError(
                    "copies another",
                    f"the passage that begins {passage[:60]!r} nearly repeats another one; write a new one",
                )
            these.append(mine)


def _again(shared: str, answer: Answer, reason: str, attempt: int) -> list[dict[str, str]]:
    """The messages that ask once more, without an answer that was cut off (it may be long) or is empty (some servers refuse it)."""
    shown = "(cut off)" if answer.finish_reason == "length" else answer.text.strip() or "(no answer)"
    asked = render(shared, "again", reason=reason.rstrip("."), attempt=attempt, most=MOST_ATTEMPTS).strip()
    return [{"role": "assistant", "content": shown}, {"role": "user", "content": asked}]


def parse_answer(form: type[M], answer: Answer) -> M:
    """The form that an answer holds as JSON. Text around the JSON object is ignored, and so are thoughts before it.

    Raises: RejectedError if it was cut off, is empty, or has another form.
    """
    if answer.finish_reason == "length":
        raise RejectedError("cut off", "it was cut off before its end; keep to the lengths that are asked for")
    text = answer.text.rpartition("</think>")[2]
    starts = [found.start() for found in islice(re.finditer(r"\{", text), _STARTS)]
    if not starts:
        kind = "not JSON" if answer.text.strip() else "empty"
        raise RejectedError(
            kind, "it holds no JSON object; answer with the JSON object that was described and nothing else"
        )
    try:
        return form.model_validate(_first_object(text, starts))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the object"
        reason = f"in the JSON object, {place}: {first['msg']}"[:_ERROR_CHARACTERS]
        raise RejectedError("other JSON", reason) from error
    except (ValueError, RecursionError) as error:
        raise RejectedError("not JSON", f"the JSON object does not parse: {error}"[:_ERROR_CHARACTERS]) from error


def _first_object(text: str, starts: Sequence[int]) -> Any:
    """The first JSON object that begins at one of these places.

    Raises: ValueError or RecursionError for the first place if there is none.
    """
    decoder = json.JSONDecoder(strict=False)
    first: Exception | None = None
    for start in starts:
        try:
            return decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError) as error:
            first = first or error
    assert first is not None
    raise first


class Draft(Generic[T]):
    """A unit that is being written. It lacks the answer to `request`, or has its `result`, or was given up (has neither)."""

    def __init__(self, unit: Unit[T], editor: Editor) -> None:
        self.unit = unit
        self.request: Request | None = None
        self.result: T | None = None
        self._editor = editor
        self._asking = unit.asking(editor)
        self._step(None)

    def give(self, answer: Answer) -> None:
        """Goes on with the answer to `request`."""
        self._step(answer)

    def feed(self, answers: AnswerLookup) -> None:
        """Goes on as far as these answers reach."""
        while self.request and (answer := answers.get(self.request.key)):
            self.give(answer)

    def _step(self, answer: Answer | None) -> None:
        self.request = None
        try:
            self.request = self._asking.send(answer)  # type: ignore[arg-type]  # None starts a generator
        except StopIteration as done:
            self.result = done.value
        except GivenUpError as error:
            self._editor.given_up[self.unit.name] = str(error)


@dataclass
class Pass:
    """One pass over the units in their order, in which each goes as far as the answers reach.

    A passage is compared with those of the units before its own. So the order of the units decides which passage is the
    copy, and never the order in which answers came.
    """

    editor: Editor
    answers: AnswerLookup

    def drafts(self, units: Iterable[Unit[T]]) -> Iterator[Draft[T]]:
        """The draft of every unit, as far as the answers reach."""
        for unit in units:
            draft = Draft(unit, self.editor)
            draft.feed(self.answers)
            if draft.result is not None:
                for kind, passages in unit.passages(draft.result).items():
                    self.editor.copies.add(kind, map(sketch, passages))
                self.editor.marks.update(unit.marks(draft.result))
            yield draft


@lru_cache(maxsize=64)  # a passage is compared, and then remembered
def sketch(passage: str) -> frozenset[int]:
    """The sketch of a passage, by which it is remembered: the 16 lowest hashes of its runs of five words."""
    words = re.findall(r"\w+", passage.lower())
    shingles = {" ".join(words[i : i + _SHINGLE]) for i in range(max(len(words) - _SHINGLE + 1, 1))}
    return frozenset(sorted(zlib.crc32(shingle.encode()) for shingle in shingles)[:_SKETCH])


class PassageCopies:
    """The sketches of passages, in a temporary file, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute("CREATE TABLE sketches (kind TEXT, hash INTEGER, passage INTEGER)")
        self._connection.execute("CREATE INDEX by_hash ON sketches (hash, kind)")
        self._count = 0

    def add(self, kind: str, sketches: Iterable[frozenset[int]]) -> None:
        """Remembers passages of a kind by their sketches."""
        for mine in sketches:
            self._count += 1
            self._connection.executemany(
                "INSERT INTO sketches VALUES (?, ?, ?)", [(kind, h, self._count) for h in mine]
            )

    def has_near(self, kind: str, mine: frozenset[int]) -> bool:
        """True if a passage with this sketch shares at least 8 hashes with a remembered passage of its kind."""
        marks = ",".join("?" * len(mine))
        query = (
            f"SELECT 1 FROM sketches WHERE hash IN ({marks}) AND kind = ? GROUP BY passage HAVING COUNT(*) >= ? LIMIT 1"
        )
        return self._connection.execute(query, (*mine, kind, _NEAR)).fetchone() is not None
