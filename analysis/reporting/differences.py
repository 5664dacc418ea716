"""The section of the report with the rows on which models differ most."""

from collections.abc import Callable, Sequence

from analysis.reporting.collect import Answered, Found, by_data, labels
from analysis.reporting.parts import Part, Section, Table
from synthctx_data.dataset import find_variants, parse_variant_address
from synthctx_data.errors import SynthctxError

_SHOWN = 8  # rows of each data set
_Texts = dict[str, tuple[str, str]]  # question and right answer, by row id


def differences(found: Found) -> Section:
    """The rows of each data set on which the scores of models differ most; where these are not known, their answers."""
    parts = []
    for data, models in by_data(found.evaluations).items():
        shared = [key for key in models[0].answers if all(key in one.answers for one in models)]
        if all(one.rows for one in models):  # they may be fewer than the answers
            shared = [key for key in shared if all(key in one.rows for one in models)]
        spread = _spread(models)
        told = [key for key in sorted(shared, key=lambda key: -spread(key)) if spread(key) > 0][:_SHOWN]
        if told:
            parts.append(Part(data, tables=[_table(models, told, _texts(found, models[0], told))]))
    says = (
        f"Rows on which the scores of models differ most, at most {_SHOWN} of each data set, with the answers of the highest and of "
        "the lowest score. Where the scores of rows were not kept: rows to which models gave the most different answers. They were "
        "not drawn at random. To see where heads look in such a row, trace it (python analysis/trace.py --rows ID), and name the "
        "folder of the traces among those of this report."
    )
    return Section("differences", "Where models differ", says, parts)


def _spread(models: Sequence[Answered]) -> Callable[[str], float]:
    """A function that says how far models are apart on a row: in their scores, or else in the number of different answers."""
    if all(one.rows for one in models):
        return lambda key: max(one.rows[key][0] for one in models) - min(one.rows[key][0] for one in models)
    return lambda key: len({one.answers[key].strip() for one in models}) - 1


def _table(models: Sequence[Answered], rows: Sequence[str], texts: _Texts) -> Table:
    known = ["question", "right answers"] if texts else []
    named = list(zip(labels(models), models, strict=True))
    return Table(
        ["row", *known, "one answer", "another"],
        [[key, *(texts.get(key, ("", "")) if texts else ()), *_two_answers(named, key)] for key in rows],
    )


def _two_answers(named: Sequence[tuple[str, Answered]], key: str) -> list[str]:
    """The answers with the highest and the lowest score; where scores are not known, the first two that differ."""
    if all(key in one.rows for _, one in named):
        ranked = sorted(named, key=lambda each: -each[1].rows[key][0])
        return [
            f"{label}, {one.rows[key][0]:.2f}: {one.answers[key].strip()}" for label, one in (ranked[0], ranked[-1])
        ]
    first = named[0][1].answers[key].strip()
    other = next(each for each in named if each[1].answers[key].strip() != first)
    return [f"{label}: {one.answers[key].strip()}" for label, one in (named[0], other)]


def _texts(found: Found, evaluation: Answered, rows: Sequence[str]) -> _Texts:
    """The texts of rows that were traced, or whose data set lies on this machine."""
    texts = {
        row["id"]: (row["question"], " / ".join(row["all_right"]))
        for one in found.traces
        if one.data == evaluation.data
        for row in one.rows
    }
    missing = [key for key in rows if key not in texts]
    return {key: texts[key] for key in rows if key in texts} | _read_texts(evaluation, missing)


def _read_texts(evaluation: Answered, rows: Sequence[str]) -> _Texts:
    try:
        address = parse_variant_address(evaluation.data)
        if not address.is_folder:
            return {}
        (variant,) = find_variants(address)
        numbered = [(key, variant.row(evaluation.split, int(key.rpartition("/")[2]))) for key in rows]
    except (SynthctxError, ValueError, OSError):  # the set is elsewhere, or another one by now
        return {}
    return {key: (row["question"], " / ".join(row["answers"])) for key, row in numbered if row and row["id"] == key}
