"""REPRODUCTION.md: the results of the run, in tables."""

from collections.abc import Iterable, Sequence
from math import isnan
from pathlib import Path
from statistics import fmean

from analysis.crossed import crossed_mean
from experiments.claims import row, section
from experiments.miniature.plan import HERE, REAL
from experiments.miniature.results import Results, Values
from experiments.miniature.stages import RAW, SHORT, THETA, Study
from experiments.miniature.verdicts import claims, gates
from synthctx_data import CONTENT_VERSION
from synthctx_data.files import write_text
from training.answer_scores import Mean
from training.plots import bars, bars_size, saved

_HEAD = """# The paper in miniature

Written by `python experiments/miniature/run.py` from the plan `{name}`. Bases with contexts of {trained} tokens{origin}: {bases}; each
was tuned on every variant of the plan at {tuned} tokens ({examples} examples; seeds: {seeds}) and evaluated on {evaluated} test
questions. These are worded as no synthetic needle is, but as the real variant, the haystack of the variants among real passages, and
part of the bases' own lessons; what is told is drawn anew for every context. Sizes, phases, learning rates, thresholds, gates and rules for
verdicts were written down before, in the plan, which names one exception. The rows are those of content version {content}.

Cells of the paper are real, templated_haystack, templated_padding and symbolic_haystack. Ours are symbolic_padding, and the two variants
among_real: made-up needles among the passages of the real variant."""
_CLAIMS = """The figures of the paper that are known come from reviews of its first version; its published tables may differ. It calls the
correlation of recall with F1 strong over all tasks. On MDQA, these reviews name Spearman 0.23 (Llama 3) and -0.27 (Mistral).
How a verdict is reached stands at the head of the plan."""
_F1 = """Means over bases and questions, with intervals for other bases and other questions (`analysis/crossed.py`). Theta alone: the base
as it is, its RoPE theta raised as for tuning. A real-tuned reference of another seed is in no mean: the heads of the others are compared
with its heads, and it is the donor of patching."""
_HEADS = "Heads that score {threshold:g} or more ({score}, over {scored} test questions)."
_KNOCKOUT = """F1 of the first real-tuned model of each base on {intervened} test questions, without its highest heads. In brackets the
mean of {draws} random sets of as many heads: of the same layers, of other layers, of all layers. None of them is among the highest that are
knocked out, and none is of layer 0."""
_PATCHING = """F1 on {intervened} test questions of the first model of each variant, with heads of the reference: those that are among the
{patched_heads} highest of both (intersect), those of the reference alone (complement), and others; in brackets, of how many heads."""


def write_report(study: Study, file: Path, plan: Path) -> Path:
    """The file of the report. Its picture, the F1 by the variant tuned on, is written beside it as SVG and PNG."""
    found = Results(study)
    shown = {variant: _mean(found.tuned(variant)) for variant in (REAL, *found.synthetic)}
    theta = fmean(found.bases(THETA))
    means = {**shown, "theta alone": Mean(theta, theta, theta, len(study.plan.bases))}
    with saved(file.with_suffix(""), bars_size(means)) as axes:
        bars(means, "F1 on the test questions", axes)
    write_text(file, "\n".join(_lines(found, file.with_suffix(".svg").name, plan.name)) + "\n")
    return file


def _mean(values: Values) -> Mean:
    found = crossed_mean(values)
    return Mean(found.mean, found.low, found.high, found.models)


def _lines(found: Results, picture: str, name: str) -> Iterable[str]:
    plan = found.study.plan
    yield _HEAD.format(
        name=name,
        origin=" (a checkpoint)" if plan.checkpoint else ", trained from scratch",
        trained=plan.base.tokens,
        bases=len(plan.bases),
        tuned=plan.tuning.tokens,
        examples=plan.tuning.examples,
        seeds=len(plan.seeds),
        content=CONTENT_VERSION,
        evaluated=plan.measuring.evaluated,
    )
    yield from section("Claims", ("claim", "whose", "what the miniature shows", "n", "verdict"), _CLAIMS)
    yield from (row(claim.says, claim.whose, claim.shows, claim.n, claim.verdict) for claim in claims(found))
    yield from section("Gates", ("what", "asked", "seen", "met", "bears"))
    yield from (row(one.what, one.asked, one.seen, "yes" if one.met else "**no**", one.bears) for one in gates(found))
    yield from _f1(found, picture)
    yield from _heads(found)
    yield from _knockout(found)
    yield from _patching(found)
    yield from ("", "## What was tried", "", (HERE / "tried.md").read_text().rstrip())


def _f1(found: Results, picture: str) -> Iterable[str]:
    plan, raw, theta = found.study.plan, found.bases(RAW), found.bases(THETA)
    columns = ("tuned on", "F1", "95 %", *(f"base {base}" for base in plan.bases))
    yield from section("F1 on the test questions", columns, _F1)
    for variant in (REAL, *found.synthetic):
        values = found.tuned(variant)
        mean = _mean(values)
        interval = "" if isnan(mean.low) else f"[{mean.low:.3f}, {mean.high:.3f}]"
        yield row(variant, f"{mean.mean:.3f}", interval, *_each(values.mean(1).tolist()))
    yield row("nothing (theta alone)", f"{fmean(theta):.3f}", "", *_each(theta))
    yield row("nothing (theta as it was)", f"{fmean(raw):.3f}", "", *_each(raw))
    guessed = f"{found.guessed('test'):.3f}"
    yield row("guessing an object of the asked relation", guessed, "", *[""] * len(plan.bases))
    yield from ("", f"![F1 on the test questions, by what was tuned on]({picture})", "")
    short = ", ".join(_each(found.bases(SHORT)))
    yield f"At {plan.base.tokens} tokens the bases reach {short}; guessing, {found.guessed('short'):.3f}."


def _heads(found: Results) -> Iterable[str]:
    study = found.study
    columns = ("model", *(f"layer {layer}" for layer in range(study.plan.base.layers)))
    caption = _HEADS.format_map(study.plan.measuring.model_dump())
    yield from section("Retrieval heads of the real-tuned models", columns, caption)
    for folder, scores in zip(found.folders(REAL), found.heads(REAL), strict=True):
        heads = found.retrieval_heads(scores)
        yield row(str(folder.relative_to(study.root)), *(" ".join(map(str, one)) or "-" for one in heads))


def _knockout(found: Results) -> Iterable[str]:
    plan = found.study.plan
    numbers = plan.measuring.knocked_out
    columns = ("base", "all heads", *(f"without {number}" for number in numbers), "without layer 0, 1, ...")
    yield from section("Knockout", columns, _KNOCKOUT.format_map(plan.measuring.model_dump()))
    for base in plan.bases:
        one = found.knockout(base)
        cells = [
            f"{one.highest[number].mean():.3f} ({', '.join(_maybe(of.get(number)) for of in one.controls.values())})"
            for number in numbers
        ]
        yield row(str(base), f"{one.none.mean():.3f}", *cells, ", ".join(_each(one.layers)))


def _maybe(values: Values | None) -> str:
    return "-" if values is None else f"{values.mean():.3f}"


def _patching(found: Results) -> Iterable[str]:
    names = ("recipient", "donor", "intersect", "complement", "random")
    caption = _PATCHING.format_map(found.study.plan.measuring.model_dump())
    yield from section("Patching from the real-tuned reference", ("tuned on", *names), caption)
    for (base, variant), one in found.patched.items():
        of = {name: f" (of {number})" for name, number in one.heads.items()}
        yield row(f"base {base}, {variant}", *(_maybe(one.f1.get(name)) + of.get(name, "") for name in names))


def _each(values: Sequence[float]) -> list[str]:
    return [f"{value:.3f}" for value in values]
