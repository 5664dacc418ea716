"""One pass over all rows of a variant, which finds their faults and makes a survey of them."""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

from synthctx_data.checks import Checker, Report
from synthctx_data.dataset import BuiltVariant, Piece
from synthctx_data.errors import DatasetError
from synthctx_data.manifest import MIXED, Manifest, sizes_in, stands_out
from synthctx_data.options import UNIFORM, parse_depth
from synthctx_data.processes import begin_work
from synthctx_data.row_checks import Expected, RowFindings, check_row
from synthctx_data.survey import RowFacts, Survey, facts_of
from synthctx_data.tokens import load_counter

Progress = Callable[[int], None]
_FEW_TOKENS = 2**23  # of fewer, one process is done before others have started


@dataclass(frozen=True)
class Examined:
    """The faults that were found, a survey of the rows, and whether their tokens were counted again.

    fingerprint: the fingerprint of the manifest that the rows were compared with; empty if there was none.
    """

    report: Report
    survey: Survey
    recounted: bool
    fingerprint: str

    @property
    def faults(self) -> str:
        """The kinds of faults with the number of each, in words; empty if there are none."""
        return ", ".join(f"{kind} ({len(found)})" for kind, found in self.report.faults.items() if found)

    def as_json(self) -> dict[str, Any]:
        """What was found, for programs: faults by kind, floors, and for each split its rows and the hash of them all."""
        return {
            "ok": self.report.ok,
            "fingerprint": self.fingerprint,
            "faults": {kind: found for kind, found in self.report.faults.items() if found},
            "floors": [
                {
                    "rule": one.rule,
                    "reads_the_question": one.reads,
                    "rows": one.rows,
                    "score": round(one.score, 4),
                    "chance": round(one.chance, 4),
                }
                for one in self.survey.floors
            ],
            "splits": {name: {"rows": split.rows, "hash": split.hash} for name, split in self.survey.splits.items()},
        }


def expected(
    manifest: Manifest, max_tokens: int | None = None, depth: str | None = None, tokenizer: str | None = None
) -> Expected:
    """The properties that rows are checked against: those of the arguments, or else of the manifest."""
    counter = load_counter(tokenizer)
    recount = tokenizer is not None or manifest.get("tokenizer") == counter.identity
    return Expected(
        max_tokens if max_tokens is not None else manifest.get("max_tokens"),
        _depths(depth if depth is not None else manifest.get("depth", UNIFORM)),
        stands_out(manifest),
        counter if recount else None,
        int(manifest.get("questions", 1)),
        tuple(manifest.get("budgets", ())) if max_tokens is None else (),
        f"{manifest['task']}/{manifest['variant']}" if "task" in manifest else "",
        manifest.get("fingerprint", ""),
        sizes_in(manifest) if "task" in manifest else None,
        tokenizer,
    )


def _depths(depth: str) -> tuple[float, ...] | None:
    """The depths that were asked for; None if those of a mixture's parts differ."""
    return None if depth == MIXED else parse_depth(depth)


class Examiner:
    """An examiner of rows: call `add` or `add_pieces` with the rows of each split in the order of their indices, then `done`.

    It is a context, at whose end the processes end that look at pieces.
    """

    def __init__(self, asked: Expected, workers: int = 1) -> None:
        self._asked = asked
        self._checker = Checker(asked)
        self._survey = Survey()
        self._crew = _Crew(_Look(replace(asked, counter=None), asked.counter is not None), workers)

    def __enter__(self) -> "Examiner":
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.end()

    def add(self, rows: Iterable[tuple[str, dict[str, Any]]], progress: Progress) -> None:
        """Examines rows, each with its split. `progress` is called with the number of further rows that were examined."""
        for split, row in rows:
            self._checker.add(split, row)
            self._survey.add(split, row)
            progress(1)

    def add_pieces(self, pieces: Sequence[Piece], progress: Progress) -> None:
        """Examines the rows of pieces."""
        if self._crew.workers == 1:
            self.add(((piece.split, row) for piece in pieces for row in piece.rows()), progress)
            return
        for split, findings, facts in self._crew.look_at(pieces, self._survey):
            assert findings is not None
            self._checker.take(split, findings)
            self._survey.take(split, facts)
            progress(1)

    def done(self) -> Examined:
        """The findings in all rows that were added."""
        return Examined(
            self._checker.report(self._survey.floors),
            self._survey,
            self._asked.counter is not None,
            self._asked.fingerprint,
        )


@dataclass(frozen=True)
class _Look:
    """What is looked for in each row: its facts, and if something is `asked` for its faults too, with the tokens counted again or not."""

    asked: Expected | None = None
    recount: bool = False

    def prepared(self) -> "_Look":
        """The same in another process, which loads the tokenizer anew."""
        if self.asked is None or not self.recount:
            return self
        return replace(self, asked=replace(self.asked, counter=load_counter(self.asked.tokenizer)))

    def at(self, piece: Piece) -> list[tuple[RowFindings | None, RowFacts]]:
        """What there is to each row of a piece."""
        return [
            (check_row(self.asked, row, number) if self.asked else None, facts_of(row))
            for number, row in enumerate(piece.rows(), piece.start)
        ]


_look: _Look | None = None  # in a worker


def _start(look: _Look) -> None:
    global _look  # noqa: PLW0603  # a pool can pass it on in no other way
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone answers Ctrl-C
    begin_work()
    _look = look.prepared()


def _look_at(piece: Piece) -> list[tuple[RowFindings | None, RowFacts]]:
    assert _look is not None
    return _look.at(piece)


class _Crew:
    """Processes that look at rows."""

    def __init__(self, look: _Look, workers: int) -> None:
        self.workers = workers
        self._look = look
        self._pool: ProcessPoolExecutor | None = None

    def look_at(self, pieces: Sequence[Piece], survey: Survey) -> Iterator[tuple[str, RowFindings | None, RowFacts]]:
        """What there is to each row of some pieces, with its split, in their order. Meanwhile the survey judges as many as it wants."""
        self._pool = self._pool or ProcessPoolExecutor(
            self.workers, get_context("spawn"), initializer=_start, initargs=(self._look,)
        )
        try:
            seen = self._pool.map(_look_at, pieces)
            for piece in pieces:
                if not all(survey.judge(piece.split, row) for row in piece.rows()):
                    break
            for piece, rows in zip(pieces, seen, strict=True):
                yield from ((piece.split, findings, facts) for findings, facts in rows)
        except BrokenProcessPool as error:
            raise DatasetError(
                "a worker process was killed while it read rows; is there enough memory? Call again"
            ) from error

    def end(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def worth(tokens: int, workers: int) -> int:
    """The number of processes, at most `workers`, that are worth their start for rows of so many tokens in all."""
    return workers if tokens >= _FEW_TOKENS else 1


def _worth(variant: BuiltVariant, workers: int) -> int:
    if not variant.address.is_folder:
        return 1
    tokens = (variant.count() or 0) * variant.manifest.get("max_tokens", 1)
    return min(worth(tokens, workers), len(variant.pieces()))


def survey_of(variant: BuiltVariant, progress: Progress, workers: int = 1) -> Survey:
    """The survey of a variant. Any number of processes makes the same.

    Raises: DatasetError if a file cannot be read, or if worker processes are killed.
    """
    survey, crew = Survey(), _Crew(_Look(), _worth(variant, workers))
    if crew.workers == 1:
        for split, row in variant.rows():
            survey.add(split, row)
            progress(1)
        return survey
    try:
        for split, _, facts in crew.look_at(variant.pieces(), survey):
            survey.take(split, facts)
            progress(1)
    finally:
        crew.end()
    return survey


def examine(variant: BuiltVariant, asked: Expected, progress: Progress, workers: int = 1) -> Examined:
    """The findings in all rows of a variant. Any number of processes finds the same.

    Raises: DatasetError if a file cannot be read, or if worker processes are killed.
    """
    with Examiner(asked, _worth(variant, workers)) as examiner:
        if variant.address.is_folder:
            examiner.add_pieces(variant.pieces(), progress)
        else:
            examiner.add(variant.rows(), progress)
        found = examiner.done()
    found.report.faults["complete"] = list(dict.fromkeys([*variant.missing(), *found.report.faults["complete"]]))
    return found
