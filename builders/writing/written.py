"""The part that all concept expressions share for which a language model writes: its requests, and the results of its answers."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from builders.writing.requests import AnswerLookup, Editor, Pass, Unit
from builders.writing.sample import SAMPLE_MODEL, load_sample, refusal
from builders.writing.store import ANSWERS, Answer, AnswerStore, export
from synthctx_data.errors import WriterError
from synthctx_data.files import Place, expanded
from synthctx_data.options import Options
from synthctx_data.task import ConceptExpression


@dataclass(frozen=True)
class Results:
    """The result of every unit of a variant, by its name and in order.

    identity: a hash of the results.
    rejected: the number of rejected answers, by the kind of fault.
    used: the keys of the answers that were used.
    """

    of: Mapping[str, Any]
    identity: str
    rejected: dict[str, int]
    used: Sequence[str]


class WrittenExpression(ConceptExpression):
    """A concept expression for which a language model writes."""

    reads = frozenset({"model", "store"})

    @abstractmethod
    def units(self) -> Iterator[Unit[Any]]:
        """The units of the variant: all that has to be written, in order."""

    @cached_property
    def results(self) -> Results:
        """The results of all units, read from the store or the sample.

        Raises: WriterError if something is missing.
        """
        editor = Editor(asked_model(self.setting.options))
        found: dict[str, Any] = {}
        digest = hashlib.sha256()
        with stored_answers(self.setting.options) as answers:
            used = _Used(answers)
            for draft in Pass(editor, used).drafts(self.units()):
                if draft.result is None:
                    raise WriterError(self._missing(draft.unit.name, given_up=draft.request is None))
                digest.update(self.hashed(draft.result).encode())
                found[draft.unit.name] = draft.result
        return Results(found, digest.hexdigest(), dict(sorted(editor.rejected.items())), used.keys)

    def hashed(self, result: Any) -> str:
        """The text that the identity of a result is made of. It must not change within a content version."""
        return repr(result)

    def sources(self) -> dict[str, Any]:
        return {
            "model": asked_model(self.setting.options),
            "answers": self.results.identity,
            "rejected_answers": self.results.rejected,
        }

    def keep(self, folder: Place) -> None:
        """Writes the answers that were used, unless they come with this package."""
        if self.setting.options.model is not None:
            with stored_answers(self.setting.options) as answers:
                export(filter(None, map(answers.get, self.results.used)), folder / ANSWERS)

    def _missing(self, unit: str, given_up: bool) -> str:
        options = self.setting.options
        if given_up:
            return f"{unit}: none of the stored answers of {options.model} to its requests can be used; take another --seed or --model"
        if options.model is None:
            return refusal(self.setting.task, self.name, unit)
        return (
            f"{unit}: {options.answer_store} has no answer of {options.model} to one of its requests; import the answers that "
            "the variant was built from, or have them written by synthctx build, with an --output that does not hold the variant yet"
        )


class _Used:
    """A lookup of answers that remembers the keys of those that were found, in the order of their first use."""

    def __init__(self, answers: AnswerLookup) -> None:
        self._answers = answers
        self._keys: dict[str, None] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def get(self, key: str) -> Answer | None:
        answer = self._answers.get(key)
        if answer is not None:
            self._keys[key] = None
        return answer


def asked_model(options: Options) -> str:
    """The model that requests are addressed to."""
    return options.model or SAMPLE_MODEL


@contextmanager
def stored_answers(options: Options) -> Iterator[AnswerLookup]:
    """The stored answers: those of the sample, or those in the user's store."""
    file = expanded(options.answer_store)
    if options.model is None:
        yield load_sample()
    elif not file.exists():
        yield {}
    else:
        with closing(AnswerStore(file, read=True)) as store:
            yield store
