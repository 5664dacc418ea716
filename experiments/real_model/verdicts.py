"""The gates that the run must pass, and the claims of the paper and our own questions, each with the evidence and a verdict."""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.correlation import correlate, holm, spearman
from experiments.claims import FAILS, HOLDS, OURS, UNTESTED, Claim, Gate, at_least, gated, judge, with_interval
from experiments.real_model.plan import REAL
from experiments.real_model.results import Results, Values, interval
from experiments.real_model.tasks import UNTUNED

_FEWEST = 4  # the fewest variants that can be correlated
EVERY, HEADS = "every claim", "claims about heads"  # what a gate bears
_AXES = {
    "More realistic needles help (templated over symbolic).": ("templated", "symbolic"),
    "More varied haystacks help (haystack over padding).": ("haystack", "padding"),
}


def gates(found: Results) -> Iterator[Gate]:
    """The gates, in the plan's order."""
    asked, real = found.study.plan.gates, float(found.variant(REAL).mean())
    untuned, closed = float(found.model(UNTUNED).mean()), float(found.closed_book.mean())
    yield at_least("F1 of real-tuned models over the untuned one", real - untuned, asked.real_over_untuned, EVERY)
    yield at_least("F1 of real-tuned models over the question alone", real - closed, asked.real_over_closed_book, EVERY)
    threshold = found.study.plan.heads.threshold
    heads = len(found.heads(found.study.reference).above(threshold))
    yield at_least(f"heads of the reference that score {threshold:g} or more", heads, asked.retrieval_heads, HEADS)


def claims(found: Results) -> Iterator[Claim]:
    """The paper's claims in its order, and our own questions among them."""
    unmet = [gate for gate in gates(found) if not gate.met]
    every = [gate for gate in unmet if gate.bears == EVERY]
    yield _falls_short(found, every)
    yield from _axes(found, every)
    yield from _correlations(found, unmet)
    yield _necessary(found, unmet)
    yield from _patching(found, unmet)
    for task in ("multi-hop questions (MuSiQue)", "citations (SummHay)"):
        yield Claim(f"The same for {task}.", "nothing was tuned on such data here; see the tests", "-", UNTESTED)


def _compared(found: Results, values: Values, name: str) -> tuple[str, str, str]:
    """A difference (context) in words, its size, and the verdict on it."""
    one, bound = interval(values, name), found.study.plan.bound
    return with_interval(one.mean, one.low, one.high), f"{one.rows} contexts", judge(one.low, one.high, bound)


def _falls_short(found: Results, unmet: Sequence[Gate]) -> Claim:
    real, best = found.variant(REAL), found.variant(found.best)
    said, size, verdict = _compared(found, real - best, "falls short")
    shows = f"real {real.mean():.3f}, the best synthetic ({found.best}) {best.mean():.3f}: the difference {said}"
    return Claim("Synthetic data falls short of real data.", shows, size, gated(verdict, unmet))


def _axes(found: Results, unmet: Sequence[Gate]) -> Iterator[Claim]:
    for says, (more, less) in _AXES.items():
        pairs = [(v, v.replace(more, less)) for v in found.synthetic if more in v]
        pairs = [pair for pair in pairs if pair[1] in found.synthetic]
        if not pairs:
            yield Claim(says, "the plan has no two variants that differ in nothing else", "0 pairs", UNTESTED, OURS)
            continue
        gaps = {pair: found.variant(pair[0]) - found.variant(pair[1]) for pair in pairs}
        said, size, verdict = _compared(found, np.mean(list(gaps.values()), axis=0), says)
        each = ", ".join(f"{one} {gap.mean():+.3f}" for (one, _), gap in gaps.items())
        yield Claim(says, f"{said} F1 more ({each})", size, gated(verdict, unmet), OURS)


def _correlations(found: Results, unmet: Sequence[Gate]) -> Iterator[Claim]:
    plan, variants = found.study.plan, found.synthetic
    f1 = np.array([found.variant(variant).mean() for variant in variants])
    names = {"Recall of": f"recall@>={plan.heads.threshold:g}", "Cosine with": "cosine"}
    values = {label: np.array([found.measure(variant, name) for variant in variants]) for label, name in names.items()}
    enough = len(variants) >= _FEWEST and np.ptp(f1) >= plan.f1_span
    known = {label: one for label, one in values.items() if enough and np.isfinite(one).all()}
    tested = {label: correlate(spearman, one, f1, "real model", label) for label, one in known.items()}
    corrected = dict(zip(tested, holm([one.p for one in tested.values()]), strict=True))
    for label in names:
        says, size = f"{label} the real-tuned model's heads goes with F1.", f"{len(variants)} variants"
        if label not in tested or np.isnan(tested[label].value):
            why = (
                f"F1 of {len(variants)} variants spans {np.ptp(f1):.3f}" if label not in tested else "it does not vary"
            )
            yield Claim(says, why, size, UNTESTED)
            continue
        one, p = tested[label], corrected[label]
        shows = f"Spearman {one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}], p corrected for two {p:.3f}"
        yield Claim(says, shows, size, gated(HOLDS if one.value > 0 and p < 0.05 else FAILS, unmet))


def _necessary(found: Results, unmet: Sequence[Gate]) -> Claim:
    says, plan = "Retrieval heads are necessary (knockout).", found.study.plan
    results = [found.knockout(model) for model in plan.knockout.models if model != UNTUNED]
    numbers = [number for number in plan.knockout.heads if results and all(number in one for _, one in results)]
    if not numbers:
        return Claim(says, "the same layers have too few other heads", "0 models", UNTESTED)
    shown, verdict, size = [], FAILS, ""
    for number in numbers:
        highest, control = (np.mean([one[number][i] for _, one in results], axis=0) for i in (0, 1))
        said, size, verdict = _compared(found, control - highest, f"knockout {number}")
        shown.append(f"without {number}: {highest.mean():.3f}, without others {control.mean():.3f}: {said}")
    whole = float(np.mean([none for none, _ in results]))
    size = f"{len(results)} models, {size}"
    return Claim(says, f"with all {whole:.3f}; {'; '.join(shown)}", size, gated(verdict, unmet))


def _patching(found: Results, unmet: Sequence[Gate]) -> Iterator[Claim]:
    helps, falls_short = "Patching shared heads from the real-tuned model helps.", "It does not close the gap."
    names = ("recipient", "donor", "intersect", "random")
    usable = [one for one in found.patched.values() if all(name in one for name in names)]
    if not usable:
        why = "no recipient is far enough below its donor, or shares heads with it"
        yield from (Claim(says, why, "0 recipients", UNTESTED) for says in (helps, falls_short))
        return
    f1 = {name: np.mean([one[name][0] for one in usable], axis=0) for name in names}
    size = f"{len(usable)} recipients"
    said, contexts, verdict = _compared(found, f1["intersect"] - f1["random"], helps)
    gained = ", ".join(f"{name} {(f1[name] - f1['recipient']).mean():+.3f}" for name in ("intersect", "random"))
    yield Claim(helps, f"{gained}: the difference {said}", f"{size}, {contexts}", gated(verdict, unmet))
    left = interval(f1["donor"] - f1["intersect"], falls_short)
    bound = found.study.plan.bound
    verdict = judge(left.low, left.high, bound)
    if verdict == HOLDS and left.low <= bound:
        verdict = FAILS  # a gap, but perhaps none that counts
    said = with_interval(left.mean, left.low, left.high)
    yield Claim(falls_short, f"F1 still missing to the donor {said}", f"{size}, {contexts}", gated(verdict, unmet))
