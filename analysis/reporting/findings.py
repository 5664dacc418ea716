"""The section of the report that says in sentences what was found, and how surely."""

from collections.abc import Iterator, Mapping
from typing import Any

from analysis.reporting.collect import Changed, Found, by_data, short_names
from analysis.reporting.parts import Section
from training.answer_scores import Mean

_HIGHEST, _CONTROL = "highest heads", "same layers"


def findings(found: Found) -> Section:
    """A sentence for each result that another can be held against."""
    says = (
        "Brackets hold 95 % intervals, for other rows. Where the intervals of two means do not overlap, their difference is called shown. "
        "Where they do, it may still be there: training/compare_evaluations.py compares two models row by row, which is finer. Intervals "
        "say nothing of other seeds or other models."
    )
    points = [*_scores(found), *_knockouts(found), *_patches(found), *_correlations(found)]
    return Section("found", "What was found", says, points=points)


def _scores(found: Found) -> Iterator[str]:
    for data, models in by_data(found.evaluations).items():
        called = short_names(one.model for one in models)
        name = next(iter(models[0].scores))
        means = {called[one.model]: one.scores[name] for one in models if name in one.scores}
        ranked = sorted(means, key=lambda model: -means[model].mean)
        if len(ranked) == 1:
            yield f"On {data}, {ranked[0]} has the {name} {_said(means[ranked[0]])}. No other model was evaluated on it."
            continue
        below = [model for model in ranked[1:] if means[model].high < means[ranked[0]].low]
        near = [model for model in ranked[1:] if model not in below]
        yield " ".join(
            [
                f"On {data}, {ranked[0]} has the highest {name}, {_said(means[ranked[0]])}.",
                *([f"That it is better than {', '.join(below)} is shown."] if below else []),
                *([f"That it is better than {', '.join(near)} is not shown."] if near else []),
            ]
        )


def _knockouts(found: Found) -> Iterator[str]:
    for one in found.knockouts:
        points, controls = one.f1.get(_HIGHEST, {}), one.f1.get(_CONTROL, {})
        numbers = [number for number in points if number]
        if not numbers or 0 not in points:
            continue
        most = max([number for number in numbers if number in controls] or numbers)
        without = f"without its {most} highest heads" if most > 1 else "without its highest head"
        said = f"{_named(one)}: F1 is {_said(points[0])}, and {without} {_said(points[most])}."
        if most in controls:
            shown = _apart(points[most], controls[most])
            said += (
                f" Without {most} random heads of the same layers it is {_said(controls[most])}. That the highest heads matter more "
                f"than these is {shown}."
            )
        yield said


def _patches(found: Found) -> Iterator[str]:
    for one in found.patches:
        means = {name: next(iter(points.values())) for name, points in one.f1.items() if points}
        if not {"recipient", "intersect"} <= means.keys():
            continue
        said = (
            f"{_named(one)}: F1 is {_said(means['recipient'])}, and {_said(means['intersect'])} with the donor's outputs of the heads "
            "that are among the highest of both."
        )
        if "random" in means:
            shown = _apart(means["intersect"], means["random"])
            said += f" With outputs of as many random heads it is {_said(means['random'])}. That the former do more is {shown}."
        yield said


def _correlations(found: Found) -> Iterator[str]:
    for folder, compared in found.comparisons:
        for measure, kinds in compared.get("correlations", {}).items():
            one: Mapping[str, Any] = kinds.get("spearman") or {}
            if {"value", "low", "high", "n"} <= one.keys():
                shown = "shown" if one["low"] > 0 or one["high"] < 0 else "not shown"
                yield (
                    f"{folder}: over {one['n']} models, F1 goes with {measure} of the reference's heads by Spearman {one['value']:+.2f} "
                    f"[{one['low']:+.2f}, {one['high']:+.2f}]. That they go together at all is {shown}."
                )


def _named(one: Changed) -> str:
    return f"{next(iter(short_names([one.model]).values()))} on {one.data}"


def _said(mean: Mean) -> str:
    return f"{mean.mean:.2f} [{mean.low:.2f}, {mean.high:.2f}]"


def _apart(one: Mean, other: Mean) -> str:
    return "shown" if one.high < other.low or other.high < one.low else "not shown"
