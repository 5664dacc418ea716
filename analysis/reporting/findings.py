"""The section of the report that says in sentences what was found, and how surely."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from analysis.reporting.collect import Answered, Changed, Found, by_data, labels, short_names
from analysis.reporting.parts import Section
from training.answer_scores import Mean, mean

_HIGHEST, _CONTROL = "highest heads", "same layers"
_RESAMPLES = 1000
_FEWEST = 5  # contexts that a difference row by row takes
_LEVEL = 0.05  # of p, corrected for the number of measures


def findings(found: Found) -> Section:
    """A sentence for each result that another can be held against."""
    says = (
        "Brackets hold 95 % intervals: on other rows of the same kind, means would mostly lie in them. A difference is called shown "
        "if its interval, taken row by row, does not hold 0. Where the scores of rows were not kept, it is called shown if the "
        "intervals of the two means do not overlap. What is not shown may still be there. Intervals say nothing of other seeds or "
        "other models. They come from random resamples: the same mean may have slightly different intervals in two places."
    )
    points = [*_scores(found), *_knockouts(found), *_patches(found), *_correlations(found)]
    return Section("found", "What was found", says, points=points)


def _scores(found: Found) -> Iterator[str]:
    for data, models in by_data(found.evaluations).items():
        called = dict(zip((one.folder for one in models), labels(models), strict=True))
        name = next(iter(models[0].scores))
        ranked = sorted((one for one in models if name in one.scores), key=lambda one: -one.scores[name].mean)
        best = ranked[0]
        first = [called[one.folder] for one in ranked if one.scores[name].mean == best.scores[name].mean]
        said = f"{_shown_name(name)} of {' and '.join(first)}, {_said(best.scores[name])}"
        if len(ranked) == 1:
            yield f"On {data}: the {said}. No other model was evaluated there."
            continue
        below = [one for one in ranked[1:] if _is_better(best, one, name)]
        near = [one for one in ranked[1:] if one not in below]
        yield " ".join(
            [
                f"On {data}: the highest is the {said}.",
                *([f"That it is better than {_named_all(below, called)} is shown."] if below else []),
                *([f"That it is better than {_named_all(near, called)} is not shown."] if near else []),
            ]
        )


def _is_better(one: Answered, other: Answered, name: str) -> bool:
    """True if it is shown that one evaluation has the higher score: row by row, if the scores of both are known for the same rows."""
    if not one.rows or one.rows.keys() != other.rows.keys():
        return other.scores[name].high < one.scores[name].low
    rows = [(score - other.rows[key][0], context) for key, (score, context) in one.rows.items()]
    scores, contexts = zip(*rows, strict=True)
    return len({*contexts}) >= _FEWEST and _is_above(mean(scores, _RESAMPLES, ("report",), contexts))


def _is_above(difference: Mean) -> bool:
    """True if a difference is shown to be above 0. An interval without width is one of a single context, which shows nothing."""
    return difference.low > 0 and difference.low < difference.high


def _knockouts(found: Found) -> Iterator[str]:
    for one in found.knockouts:
        points, controls = one.f1.get(_HIGHEST, {}), one.f1.get(_CONTROL, {})
        numbers = [number for number in points if number]
        if not numbers or 0 not in points:
            continue
        most = max([number for number in numbers if number in controls] or numbers)
        without = f"without its {most} highest heads" if most > 1 else "without its highest head"
        lost = one.differences.get("no heads", {}).get(most)
        said = f"{_named(one)}: F1 is {_said(points[0])}, and {without} {_said(points[most])}."
        said += f" That it falls is {_verdict(lost, points[0], points[most])}."
        if most in controls:
            more = one.differences.get(_CONTROL, {}).get(most)
            said += (
                f" Without {most} random heads of the same layers it is {_said(controls[most])}. That the highest heads matter more "
                f"than these is {_verdict(more, controls[most], points[most])}."
            )
        yield said + (
            " The heads were ranked on the same split, perhaps on the same rows." if one.is_ranked_there else ""
        )


def _patches(found: Found) -> Iterator[str]:
    for one in found.patches:
        means = {name: next(iter(points.values())) for name, points in one.f1.items() if points}
        if not {"recipient", "intersect"} <= means.keys():
            continue
        gained = {name: next(iter(points.values())) for name, points in one.differences.items() if points}
        said = (
            f"{_named(one)}: F1 is {_said(means['recipient'])}, and {_said(means['intersect'])} with the donor's outputs of the heads "
            f"that are among the highest of both. That these help is "
            f"{_verdict(gained.get('recipient'), means['intersect'], means['recipient'])}."
        )
        if "random" in means:
            said += (
                f" With outputs of as many random heads it is {_said(means['random'])}. That the highest heads do more than these is "
                f"{_verdict(gained.get('random'), means['intersect'], means['random'])}."
            )
        yield said


def _correlations(found: Found) -> Iterator[str]:
    """A sentence for each comparison. p is over models; the interval of a correlation is over rows, and says nothing of other models."""
    for folder, compared in found.comparisons:
        known = {
            measure: kinds["spearman"]
            for measure, kinds in compared.get("correlations", {}).items()
            if kinds.get("spearman") and kinds["spearman"].get("p") is not None
        }
        if not known:
            continue
        shown = [
            f"{measure} (Spearman {one['value']:+.2f})"
            for measure, one in known.items()
            if one.get("corrected", one["p"]) < _LEVEL
        ]
        models = max(one["n"] for one in known.values())
        together = ", ".join(shown) or "none of them"
        yield (
            f"{folder}: {len(known)} measures say what the heads of models have in common with the reference's. That F1 goes with one is "
            f"shown for {together} (over {models} models, seeds averaged; p below {_LEVEL:g}, corrected for the number of measures)."
        )


def _verdict(difference: Mean | None, higher: Mean, lower: Mean) -> str:
    """Whether a difference is shown, from its own interval if it is known, or else from those of the two means."""
    if difference is None:
        return "shown" if lower.high < higher.low else "not shown"
    shown = "shown" if _is_above(difference) else "not shown"
    return f"{shown} (by {difference.mean:.2f} [{difference.low:.2f}, {difference.high:.2f}], row by row)"


def _named(one: Changed) -> str:
    return f"{next(iter(short_names([one.model]).values()))} on {one.data}"


def _named_all(models: Sequence[Answered], called: Mapping[Path, str]) -> str:
    return ", ".join(called[one.folder] for one in models)


def _shown_name(score: str) -> str:
    return score.upper() if score in ("f1", "em") else score


def _said(mean: Mean) -> str:
    return f"{mean.mean:.2f} [{mean.low:.2f}, {mean.high:.2f}]"
