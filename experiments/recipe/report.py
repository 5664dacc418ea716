"""RECIPE.md: the results of the search, in tables."""

from collections.abc import Iterable, Mapping
from math import isnan
from pathlib import Path

from analysis.crossed import crossed_mean
from experiments.claims import judge, row, section, with_interval
from experiments.recipe.plan import REAL, Candidate
from experiments.recipe.results import PREDICTORS, Results, Values
from experiments.recipe.tasks import DEVELOPMENT, JUDGING, Study
from synthctx_data import CONTENT_VERSION
from synthctx_data.files import write_text
from training.answer_scores import Mean
from training.plots import bars, bars_size, saved

_HEAD = """# Which construction comes nearest to real data

Written by `python experiments/recipe/run.py` from the plan `{name}`, where all choices stand that were made before. The models are the
miniature's ([docs/miniature.md](docs/miniature.md)): trained from scratch on contexts of {own} tokens, tuned on {contexts} contexts of
{tokens} tokens, and asked real questions of their small world. Constructions were chosen on bases {chosen_on}, with questions of one
wording. They were judged on bases {judged_on} (seeds {seeds}), with questions of another wording, and no choice was made on these.
Intervals are for other bases and other questions ([crossed.py](analysis/crossed.py)). The rows are those of content version {content}.

These models have 477,376 weights, and their world is small. What helps them need not help a model of a billion weights."""
_ANSWER = """**{share} of the gap is closed** by {best}: F1 {kept:.3f}, where real data reach {real:.3f} and {plain} {lower:.3f}.
Over the point at {closed:.0%} of the gap: {over}. That at least {closed:.0%} is closed: **{verdict}**.

{best} is {construction}."""
_DEVELOPED = """F1 on the development questions, and what it is over templated_haystack. Each axis is one change to it; a combination joins
those with the highest gains. Its last column has the sum of its axes' gains: less than that means that the axes bring the same."""
_JUDGED = """F1 on questions and bases that nothing was chosen on. Share: of the gap between {plain}, the plain variant that was best in
development, and real data."""
_CURVE = """The best construction with some real rows besides, and these real rows alone, read so often that about as many contexts are
read. Means over the bases, with the first seed."""
_PREDICTED = """Each predictor was measured after a tuning on {contexts} contexts of one development base, on {rows} real rows: their F1,
the loss of their answers, and what the heads' scores have in common with those of a model tuned shortly on real data: reach (as in
`analysis/rank.py`), cosine, and recall of the {heads} highest. The table has Spearman's correlation with F1 in development over {count}
synthetic candidates, with its 95 % interval, and p, corrected for all predictors (Holm)."""


def write_report(study: Study, file: Path, plan: Path) -> Path:
    """The file of the report. Its picture, F1 by what was tuned on, is written beside it as SVG and PNG."""
    found = Results(study)
    shown = {_short(name): _mean(found.judged(name)) for name in _judged(found)}
    with saved(file.with_suffix(""), bars_size(shown)) as axes:
        bars(shown, "F1 on fresh bases and questions", axes)
        axes.set_ylim(0, 1)
    write_text(file, "\n".join(_lines(found, file.with_suffix(".svg").name, plan.name)) + "\n")
    return file


def _mean(values: Values) -> Mean:
    found = crossed_mean(values)
    return Mean(found.mean, found.low, found.high, found.models)


def _short(name: str) -> str:
    return name.replace("+", "\n+")


def _judged(found: Results) -> list[str]:
    return [REAL, *found.kept, *found.study.plan.plain]


def _lines(found: Results, picture: str, name: str) -> Iterable[str]:
    plan = found.study.plan
    yield _HEAD.format(
        name=name,
        own=found.study.miniature.base.tokens,
        contexts=plan.tuning.contexts,
        tokens=plan.tuning.tokens,
        chosen_on=_listed(plan.development.bases),
        judged_on=_listed(plan.judging.bases),
        seeds=_listed(plan.judging.seeds),
        content=CONTENT_VERSION,
    )
    yield from ("", _answer(found), "", f"![F1 on fresh bases, by what was tuned on]({picture})")
    yield from _developed(found)
    yield from _judging(found)
    yield from _curve(found)
    yield from _predictors(found)
    yield from _bases(found)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _answer(found: Results) -> str:
    plan, best = found.study.plan, found.best
    over = found.over_half_way(best)
    return _ANSWER.format(
        share=_share(found, best),
        best=best,
        kept=found.judged(best).mean(),
        real=found.judged(REAL).mean(),
        plain=found.plain,
        lower=found.judged(found.plain).mean(),
        closed=plan.closed,
        over=with_interval(over.mean, over.low, over.high),
        verdict=judge(over.low, over.high, 0),
        construction=_construction(found.kept[best]),
    )


def _share(found: Results, name: str) -> str:
    share = found.share_closed(name)
    return "Nothing" if isnan(share) else f"{share:.0%}"


def _construction(candidate: Candidate) -> str:
    """A candidate in words: variants, options, lengths."""
    variants = " and ".join([candidate.variant, *candidate.also])
    options = [f"--{name.replace('_', '-')} {value}" for name, value in candidate.options.items()]
    lengths = [f"contexts of {', '.join(map(str, candidate.lengths))} tokens"] if candidate.lengths else []
    return ", ".join([f"`{variants}`" if not candidate.also else variants, *(f"`{o}`" for o in options), *lengths])


def _developed(found: Results) -> Iterable[str]:
    plan = found.study.plan
    columns = ["candidate", "changes", "F1", "over templated_haystack, 95 %", "sum of its axes"]
    yield from section("What each change is worth, in development", columns, _DEVELOPED)
    plain = found.developed(plan.plain[0])
    tried: Mapping[str, Candidate] = {**plan.candidates, **found.combined}
    for name in sorted(tried, key=lambda one: -found.developed(one).mean()):
        values = found.developed(name)
        gain = crossed_mean(values - plain)
        of_axes = sum(found.gains[axis] for axis in name.split("+")) if name in found.combined else None
        shown = "" if of_axes is None else f"{of_axes:+.3f}"
        interval = "" if name == plan.plain[0] else with_interval(gain.mean, gain.low, gain.high)
        yield row(name, _construction(tried[name]), f"{values.mean():.3f}", interval, shown)


def _judging(found: Results) -> Iterable[str]:
    plan = found.study.plan
    bases = [f"base {base}" for base in plan.judging.bases]
    caption = _JUDGED.format(plain=found.plain)
    yield from section("Judged", ["tuned on", "F1", "95 %", *bases, "share of the gap"], caption)
    for name in (*_judged(found), found.as_many_rows, found.dense):
        values = found.judged(name)
        mean = crossed_mean(values)
        share = "" if name in (REAL, found.dense, *plan.plain) else _share(found, name)
        shown = {
            found.as_many_rows: f"{found.best}, as many rows as real",
            found.dense: "real, more questions on a context",
        }
        each = [f"{value:.3f}" for value in values.mean(1)]
        yield row(shown.get(name, name), f"{mean.mean:.3f}", f"[{mean.low:.3f}, {mean.high:.3f}]", *each, share)
    untuned = found.untuned(JUDGING, plan.judging)
    yield row("nothing (theta alone)", f"{untuned.mean():.3f}", "", *(f"{one:.3f}" for one in untuned.mean(1)), "")


def _curve(found: Results) -> Iterable[str]:
    yield from section("With a few real rows", ["real rows", f"{found.best} and these", "these alone"], _CURVE)
    yield row("0", f"{found.on_curve(found.best).mean():.3f}", "")
    for rows in found.study.plan.judging.real_rows:
        both, alone = found.on_curve(found.mixed(rows)), found.on_curve(found.alone(rows))
        yield row(str(rows), f"{both.mean():.3f}", f"{alone.mean():.3f}")
    yield row(str(found.study.plan.tuning.contexts), "", f"{found.on_curve(REAL).mean():.3f}")


def _predictors(found: Results) -> Iterable[str]:
    plan = found.study.plan
    settings = plan.predicting.model_dump() | {"count": len(found.predicted)}
    columns = ["predictor", "Spearman, 95 %", "p", f"orders them (at least {plan.spearman:g})"]
    yield from section("Which predictor would have told", columns, _PREDICTED.format(**settings))
    for name in PREDICTORS:
        one = found.correlations[name]
        good = one.value >= plan.spearman and one.corrected < 0.05
        yield row(name, with_interval(one.value, one.low, one.high), f"{one.corrected:.3f}", "yes" if good else "no")


def _bases(found: Results) -> Iterable[str]:
    plan = found.study.plan
    columns = ["base", "exact at its own length", "F1 with theta alone"]
    yield from section("The bases", columns)
    for test, part in ((DEVELOPMENT, plan.development), (JUDGING, plan.judging)):
        for base, values in zip(part.bases, found.untuned(test, part), strict=True):
            yield row(f"{base} ({test})", f"{found.exact(base):.2f}", f"{values.mean():.3f}")
