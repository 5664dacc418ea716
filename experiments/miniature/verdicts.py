"""The gates that the run must pass, and the claims of the paper and our own questions, each with the evidence and a verdict."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from analysis.correlation import Correlation, correlate, spearman
from experiments.miniature.plan import REAL
from experiments.miniature.results import Results, over
from experiments.miniature.stages import RAW, SHORT, THETA
from training.answer_scores import Mean

_FEWEST = 4  # the fewest pairs or variants that give an interval
OURS = "our question"  # the paper found no order of variants that holds for every task and model
HOLDS, FAILS, UNTESTED = "holds", "does not hold", "cannot be tested here"


@dataclass(frozen=True)
class Gate:
    """A gate: the measured quantity, the required value, the value seen, and True if it is met."""

    what: str
    asked: str
    seen: str
    met: bool


@dataclass(frozen=True)
class Claim:
    """A claim, the evidence in the miniature, the sample size, the verdict, and whose claim it is: the paper's or our question."""

    says: str
    shows: str
    n: str
    verdict: str
    whose: str = "the paper's"


def gates(found: Results) -> Iterator[Gate]:
    """The gates, in the plan's order."""
    plan = found.study.plan
    asked = plan.gates
    exact, short, raw = found.bases(SHORT, "em"), found.bases(SHORT), found.bases(RAW)
    yield _least("exact match of the bases at their own length", min(exact), asked.base_exact)
    guessed = found.guessed("short")
    yield _least("their F1 there over guessing, the lower", min(short) - guessed, asked.base_over_guessing)
    yield Gate(
        "their F1 at 4 times that, the higher",
        f"<= {asked.base_beyond:.2f}",
        f"{max(raw):.3f}",
        max(raw) <= asked.base_beyond,
    )
    real, theta = fmean(found.tuned(REAL)), fmean(found.bases(THETA))
    yield _least("F1 of real-tuned models over theta alone", real - theta, asked.real_over_theta)
    yield _least("F1 of real-tuned models over guessing", real - found.guessed("test"), asked.real_over_guessing)
    for variant in found.synthetic:
        yield _least(
            f"F1 of real-tuned models over {variant}", real - fmean(found.tuned(variant)), asked.real_over_synthetic
        )
    layers = [found.retrieval_heads(scores) for scores in found.heads(REAL)]
    yield _least("layers with retrieval heads, the fewest", min(sum(map(bool, one)) for one in layers), asked.layers)
    fullest = max(len(heads) for one in layers for heads in one)
    yield Gate(
        "heads of a layer that are retrieval heads, the most",
        f"< {plan.base.heads}",
        str(fullest),
        fullest < plan.base.heads,
    )
    yield from _knockout_gates(found)


def _least(what: str, seen: float, asked: float) -> Gate:
    return Gate(what, f">= {asked:g}", f"{seen:.3f}".rstrip("0").rstrip("."), seen >= asked)


def _knockout_gates(found: Results) -> Iterator[Gate]:
    asked = found.study.plan.gates
    for base in found.study.plan.bases:
        knocked = found.knockout(base)
        worst = min(knocked.random["all layers"])
        yield Gate(
            f"F1 of base {base}, tuned on real, without its {knocked.heads} retrieval heads",
            f"<= {asked.knockout_share * worst:.3f} (of the worst of {len(knocked.random['all layers'])} random sets, {worst:.3f})",
            f"{knocked.retrieval:.3f}",
            knocked.retrieval <= asked.knockout_share * worst,
        )
        least = min(knocked.layers[1:])
        yield Gate(
            f"F1 of base {base}, tuned on real, without any one layer but the first, the lowest",
            f">= {asked.layer_share * knocked.none:.3f} (of {knocked.none:.3f})",
            f"{least:.3f}",
            least >= asked.layer_share * knocked.none,
        )


def claims(found: Results) -> Iterator[Claim]:
    """The paper's claims in its order, and our own questions among them."""
    real = found.tuned(REAL)
    best = max(found.synthetic, key=lambda variant: fmean(found.tuned(variant)))
    gap = over([r - s for r, s in zip(real, found.tuned(best), strict=True)], "gap")
    yield Claim(
        "Synthetic data falls short of real data.",
        f"real {fmean(real):.3f}, the best synthetic ({best}) {fmean(found.tuned(best)):.3f}: the difference {_said(gap)}",
        f"{gap.rows} pairs",
        _positive(gap),
    )
    yield from _axes(found)
    yield from _correlations(found)
    yield _necessary(found)
    yield from _patched(found)
    for task in ("multi-hop questions (MuSiQue)", "citations (SummHay)"):
        yield Claim(f"The same for {task}.", "the miniature has no questions of this kind", "-", UNTESTED)


def _axes(found: Results) -> Iterator[Claim]:
    axes = {
        "More realistic needles help (templated over symbolic, in the same haystacks).": ("templated", "symbolic"),
        "More varied haystacks help (haystack over padding).": ("haystack", "padding"),
    }
    for says, (more, less) in axes.items():
        pairs = [
            (v, v.replace(more, less))
            for v in found.synthetic
            if more in v and v.replace(more, less) in found.synthetic
        ]
        if not pairs:
            yield Claim(says, "the plan has no two variants that differ in nothing else", "0 pairs", UNTESTED, OURS)
            continue
        seen = [a - b for one, other in pairs for a, b in zip(found.tuned(one), found.tuned(other), strict=True)]
        gap = over(seen, says)
        yield Claim(says, f"{_said(gap)} F1 more", f"{gap.rows} pairs", _positive(gap), OURS)


def _correlations(found: Results) -> Iterator[Claim]:
    measures = {"Recall of": f"recall@>={found.study.plan.measuring.threshold:g}", "Cosine with": "cosine"}
    for where, heads in (("on the test questions", "heads"), ("on each variant's own data", "own_heads")):
        for label, measure in measures.items():
            seen = [(base, *_correlation(found, base, heads, measure)) for base in found.study.plan.bases]
            shown = "; ".join(f"base {base}: {said}" for base, said, _ in seen)
            testable = [verdict for _, _, verdict in seen if verdict != UNTESTED]
            verdict = FAILS if FAILS in testable else HOLDS if testable else UNTESTED
            if 0 < len(testable) < len(seen):
                verdict += f" (tested on {len(testable)} of {len(seen)} bases)"
            says = f"{label} the real-tuned reference's heads goes with F1 ({where})."
            yield Claim(says, shown, f"{len(found.study.plan.variants)} variants a base", verdict)


def _correlation(found: Results, base: int, heads: str, measure: str) -> tuple[str, str]:
    """The evidence in the means of the variants, and the verdict. Seeds of one variant are not independent trials."""
    plan, names = found.study.plan, ("mini", base, heads, measure)
    f1 = found.by_variant(base, heads, "f1")
    values = found.by_variant(base, heads, measure)
    means = f1.mean(1)
    if len(means) < _FEWEST:
        return f"{len(means)} variants are too few", UNTESTED
    if np.ptp(means) < plan.f1_span:
        return f"F1 spans {np.ptp(means):.2f}", UNTESTED
    if not np.isfinite(values).all():
        return "the reference has no retrieval heads", UNTESTED
    if measure.startswith("recall") and (taken := len(set(values.round(9).ravel()))) < plan.recall_values:
        return f"recall takes {taken} values", UNTESTED
    one = correlate(spearman, values.mean(1), means, *names)
    models = correlate(spearman, values.ravel(), f1.ravel(), *names)
    total = correlate(spearman, found.by_variant(base, heads, "sum").mean(1), means, *names)
    shown = f"Spearman {_correlated(one)}; of {models.n} models {_correlated(models)}; of the sum of scores {total.value:+.2f}"
    return shown, HOLDS if one.value > 0 and one.p < 0.05 else FAILS


def _correlated(one: Correlation) -> str:
    return f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}], p {one.p:.4f}"


def _necessary(found: Results) -> Claim:
    knocked = {base: found.knockout(base) for base in found.study.plan.bases}
    shown = "; ".join(
        f"base {base}: {one.none:.3f} to {one.retrieval:.3f} without {one.heads} retrieval heads, to "
        + ", ".join(f"{fmean(draws):.3f} ({control})" for control, draws in one.random.items() if draws)
        + " without as many random ones"
        for base, one in knocked.items()
    )
    holds = all(one.retrieval < 0.5 * min(one.random["all layers"]) for one in knocked.values())
    return Claim(
        "Retrieval heads are necessary (knockout).", shown, f"{len(knocked)} models", HOLDS if holds else FAILS
    )


def _patched(found: Results) -> Iterator[Claim]:
    helps, falls_short = "Patching shared heads from the real-tuned model helps.", "It does not close the gap."
    patched = [one for one in found.patched().values() if "intersect" in one]
    if not patched:
        why = "no recipient is far enough below its donor, or shares heads with it"
        yield from (Claim(says, why, "0 recipients", UNTESTED) for says in (helps, falls_short))
        return
    sets = [name for name in ("intersect", "complement", "random") if all(name in one for one in patched)]
    gains = {name: over([one[name][0] - one["recipient"][0] for one in patched], name) for name in sets}
    gap = over([one["donor"][0] - one["intersect"][0] for one in patched], "left")
    shown = ", ".join(f"{name} {_said(gain)}" for name, gain in gains.items())
    n = f"{len(patched)} recipients"
    yield Claim(helps, shown, n, _positive(gains["intersect"]))
    yield Claim(falls_short, f"left to the donor with intersect {_said(gap)}", n, _positive(gap))


def _positive(mean: Mean) -> str:
    """The verdict on a mean: the claim holds if its whole interval is above 0."""
    if mean.rows < _FEWEST:
        return UNTESTED
    return HOLDS if mean.low > 0 else FAILS


def _said(mean: Mean) -> str:
    return f"{mean.mean:+.3f} [{mean.low:+.3f}, {mean.high:+.3f}]"
