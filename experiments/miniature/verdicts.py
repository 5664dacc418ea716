"""The gates that the run must pass, and the claims of the paper and our own questions, each with the evidence and a verdict."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from analysis.correlation import Correlation, correlate, holm, partial_spearman, spearman
from analysis.crossed import CrossedMean, crossed_mean
from experiments.claims import FAILS, HOLDS, OURS, UNTESTED, Claim, Gate, at_least, gated, judge, with_interval
from experiments.miniature.plan import REAL
from experiments.miniature.results import Results, Values
from experiments.miniature.stages import RAW, SHORT, THETA

_FEWEST = 4  # the fewest variants that can be correlated
EVERY, HEADS, KNOCKOUT = "every claim", "claims about heads", "the knockout"  # what a gate bears


def gates(found: Results) -> Iterator[Gate]:
    """The gates, in the plan's order."""
    plan = found.study.plan
    asked = plan.gates
    exact, short, raw = found.bases(SHORT, "em"), found.bases(SHORT), found.bases(RAW)
    yield at_least("exact match of the bases at their own length, the lowest", min(exact), asked.base_exact, EVERY)
    guessed = found.guessed("short")
    yield at_least("their F1 there over guessing, the lowest", min(short) - guessed, asked.base_over_guessing, EVERY)
    yield Gate(
        "their F1 at 4 times that, the highest",
        f"<= {asked.base_beyond:.2f}",
        f"{max(raw):.3f}",
        max(raw) <= asked.base_beyond,
        EVERY,
    )
    real, theta = float(found.tuned(REAL).mean()), fmean(found.bases(THETA))
    yield at_least("F1 of real-tuned models over theta alone", real - theta, asked.real_over_theta, EVERY)
    yield at_least(
        "F1 of real-tuned models over guessing", real - found.guessed("test"), asked.real_over_guessing, EVERY
    )
    layers = [found.retrieval_heads(scores) for scores in found.heads(REAL)]
    fewest = min(sum(map(bool, one)) for one in layers)
    yield at_least("layers with retrieval heads, the fewest", fewest, asked.layers, HEADS)
    fullest = max(len(heads) for one in layers for heads in one)
    yield Gate(
        "heads of a layer that are retrieval heads, the most",
        f"< {plan.base.heads}",
        str(fullest),
        fullest < plan.base.heads,
        HEADS,
    )
    for base in plan.bases:
        knocked = found.knockout(base)
        least, whole = min(knocked.layers[1:]), float(knocked.none.mean())
        yield Gate(
            f"F1 of base {base}, tuned on real, without any one layer but the first, the lowest",
            f">= {asked.layer_share * whole:.3f} (of {whole:.3f})",
            f"{least:.3f}",
            least >= asked.layer_share * whole,
            KNOCKOUT,
        )


def claims(found: Results) -> Iterator[Claim]:
    """The paper's claims in its order, and our own questions among them."""
    met = list(gates(found))
    every, heads = _unmet(met, EVERY), _unmet(met, EVERY, HEADS)
    yield _falls_short(found, every)
    yield from _axes(found, every)
    yield from _correlations(found, heads)
    yield _necessary(found, _unmet(met, EVERY, HEADS, KNOCKOUT))
    yield from _patched(found, heads)
    for task in ("multi-hop questions (MuSiQue)", "citations (SummHay)"):
        yield Claim(f"The same for {task}.", "the miniature has no questions of this kind", "-", UNTESTED)


def _unmet(seen: Sequence[Gate], *bears: str) -> list[Gate]:
    return [gate for gate in seen if not gate.met and gate.bears in bears]


def _falls_short(found: Results, unmet: Sequence[Gate]) -> Claim:
    real, bound = found.tuned(REAL), found.study.plan.bound
    best = max(found.synthetic, key=lambda variant: float(found.tuned(variant).mean()))
    gap = crossed_mean(real - found.tuned(best))
    return Claim(
        "Synthetic data falls short of real data.",
        f"real {real.mean():.3f}, the best synthetic ({best}) {found.tuned(best).mean():.3f}: the difference {_said(gap)}",
        _size(gap),
        gated(_difference(gap, bound), unmet),
    )


def _axes(found: Results, unmet: Sequence[Gate]) -> Iterator[Claim]:
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
        gap = crossed_mean(np.mean([found.tuned(one) - found.tuned(other) for one, other in pairs], axis=0))
        each = ", ".join(f"{a} {(found.tuned(a) - found.tuned(b)).mean():+.3f}" for a, b in pairs)
        verdict = gated(_difference(gap, found.study.plan.bound), unmet)
        yield Claim(says, f"{_said(gap)} F1 more ({each})", _size(gap), verdict, OURS)


@dataclass(frozen=True)
class _Related:
    """A correlation of a measure with F1 over the variants but real, and the sentence about it. It is None if it cannot be tested."""

    says: str
    shows: str
    correlation: Correlation | None


def _correlations(found: Results, unmet: Sequence[Gate]) -> Iterator[Claim]:
    measures = {"Recall of": f"recall@>={found.study.plan.measuring.threshold:g}", "Cosine with": "cosine"}
    seen = [
        _related(found, f"{label} the real-tuned reference's heads goes with F1 ({where}).", heads, measure)
        for where, heads in (("on the test questions", "heads"), ("on each variant's own data", "own_heads"))
        for label, measure in measures.items()
    ]
    corrected = holm([one.correlation.p if one.correlation else np.nan for one in seen])
    for one, p in zip(seen, corrected, strict=True):
        if one.correlation is None:
            yield Claim(one.says, one.shows, f"{len(found.synthetic)} variants", UNTESTED)
            continue
        verdict = HOLDS if one.correlation.value > 0 and p < 0.05 else FAILS
        shows = f"{one.shows}; p corrected for four {p:.3f}"
        yield Claim(one.says, shows, f"{one.correlation.n} variants", gated(verdict, unmet))


def _related(found: Results, says: str, heads: str, measure: str) -> _Related:
    plan = found.study.plan
    without = [name != REAL for name in plan.variants]

    def of(what: str) -> Values:
        return np.array([found.by_variant(base, heads, what) for base in plan.bases])

    values, f1, total = of(measure), of("f1"), of("sum")
    known = np.isfinite(values).all(1)
    if not known.any():
        return _Related(says, "no reference has retrieval heads", None)
    x, y, z = (one[known].mean(0) for one in (values, f1, total))
    if sum(without) < _FEWEST:
        return _Related(says, f"{sum(without)} variants are too few", None)
    if np.ptp(y[without]) < plan.f1_span:
        return _Related(says, f"F1 spans {np.ptp(y[without]):.2f}", None)
    if measure.startswith("recall") and (taken := len(np.unique(x[without].round(9)))) < plan.recall_values:
        return _Related(says, f"recall takes {taken} values", None)
    one = correlate(spearman, x[without], y[without], "mini", heads, measure)
    each = ", ".join(
        f"{float(spearman(a[without], b[without])):+.2f}" for a, b in zip(values[known], f1[known], strict=True)
    )
    held = float(partial_spearman(x[without], y[without], z[without]))
    apart = "cannot be told apart from it" if np.isnan(held) else f"with it held constant {held:+.2f}"
    shows = (
        f"Spearman {one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}], p {one.p:.3f}; by base {each}; with real "
        f"{float(spearman(x, y)):+.2f}; the sum of scores alone {float(spearman(z[without], y[without])):+.2f}, {apart}"
    )
    if not known.all():
        shows += f"; {int(known.sum())} of {len(plan.bases)} references have retrieval heads"
    return _Related(says, shows, one)


def _necessary(found: Results, unmet: Sequence[Gate]) -> Claim:
    says, plan = "Retrieval heads are necessary (knockout).", found.study.plan
    knocked = [found.knockout(base) for base in plan.bases]
    shown, verdict, size = [], UNTESTED, "0 bases"
    for number in plan.measuring.knocked_out:
        pairs = [
            (one.controls["same layers"][number], one.highest[number], one.none)
            for one in knocked
            if number in one.controls["same layers"]
        ]
        if not pairs:
            shown.append(f"{number}: the same layers have too few other heads")
            verdict = UNTESTED
            continue
        gap = crossed_mean(np.array([control - highest for control, highest, _ in pairs]))
        left, control = (float(np.mean([pair[i] for pair in pairs])) for i in (1, 0))
        shown.append(f"without {number}: {left:.3f}, without others of the same layers {control:.3f}: {_said(gap)}")
        verdict, size = _difference(gap, plan.bound), _size(gap)
    whole = float(np.mean([one.none for one in knocked]))
    return Claim(says, f"with all {whole:.3f}; {'; '.join(shown)}", size, gated(verdict, unmet))


def _patched(found: Results, unmet: Sequence[Gate]) -> Iterator[Claim]:
    helps, falls_short = "Patching shared heads from the real-tuned model helps.", "It does not close the gap."
    names = ("recipient", "donor", "intersect", "random")
    usable = {key: one.f1 for key, one in found.patched.items() if all(name in one.f1 for name in names)}
    bases = sorted({base for base, _ in usable})
    if not bases:
        why = "no recipient is far enough below its donor, or shares heads with it"
        yield from (Claim(says, why, "0 recipients", UNTESTED) for says in (helps, falls_short))
        return

    def mean(name: str) -> Values:
        return np.array([np.mean([f1[name] for (b, _), f1 in usable.items() if b == base], axis=0) for base in bases])

    f1, bound = {name: mean(name) for name in names}, found.study.plan.bound
    gain, left = crossed_mean(f1["intersect"] - f1["random"]), crossed_mean(f1["donor"] - f1["intersect"])
    gained = ", ".join(f"{name} {(f1[name] - f1['recipient']).mean():+.3f}" for name in ("intersect", "random"))
    size = f"{len(usable)} recipients of {_size(gain)}"
    yield Claim(helps, f"{gained}: the difference {_said(gain)}", size, gated(_difference(gain, bound), unmet))
    verdict = _difference(left, bound)
    if verdict == HOLDS and left.low <= bound:
        verdict = FAILS  # a gap, but perhaps none that counts
    yield Claim(falls_short, f"left to the donor {_said(left)}", size, gated(verdict, unmet))


def _difference(mean: CrossedMean, bound: float) -> str:
    """The verdict on a difference; untested without an interval."""
    if np.isnan(mean.low):
        return f"{UNTESTED}: {mean.models} bases give no interval"
    return judge(mean.low, mean.high, bound)


def _said(mean: CrossedMean) -> str:
    return with_interval(mean.mean, mean.low, mean.high)


def _size(mean: CrossedMean) -> str:
    return f"{mean.models} bases, {mean.questions} questions"
