"""REPRODUCTION.md: what the run found, in tables."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from analysis.figures import bars
from analysis.mini.plan import HERE, REAL
from analysis.mini.results import Results, over
from analysis.mini.tasks import RAW, SHORT, THETA, Study
from analysis.mini.verdicts import claims, gates
from training import runs


def write_report(study: Study, file: Path) -> Path:
    """The report's file; beside it stands its picture, F1 by what was tuned on, as SVG and PNG."""
    found = Results(study)
    shown = {variant: over(found.tuned(variant), variant) for variant in (REAL, *found.synthetic)}
    bars({**shown, "theta alone": over(found.bases(THETA), THETA)}, file.with_suffix(""), "F1 on the test questions")
    runs.write(file, "\n".join(_lines(found, file.with_suffix(".svg").name)) + "\n")
    return file


def _lines(found: Results, picture: str) -> Iterable[str]:
    plan = found.study.plan
    yield "# The paper in miniature"
    yield ""
    yield (
        f"Written by `python analysis/mini/run.py`. {len(plan.bases)} base models were trained from scratch on contexts of "
        f"{plan.base.tokens} tokens, tuned on every variant at {plan.tuning.tokens} tokens ({plan.tuning.examples} examples, "
        f"{len(plan.seeds)} seeds) and evaluated on {plan.measuring.evaluated} questions of a held-out grammar. All that could be tuned "
        "to the answer was written down before, in `analysis/mini/plan.yaml`."
    )
    yield from _section("Claims of the paper", ("claim", "what the miniature shows", "n", "verdict"))
    yield from (_row(claim.says, claim.shows, claim.n, claim.verdict) for claim in claims(found))
    yield from _section("Gates", ("what", "asked", "seen", "met"))
    yield from (_row(gate.what, gate.asked, gate.seen, "yes" if gate.met else "**no**") for gate in gates(found))
    yield from _section(
        "F1 on the test questions", ("tuned on", "F1", "95 %", *(f"base {b}, by seed" for b in plan.bases))
    )
    guessed = found.guessed("test")
    yield from (_f1(found, variant) for variant in (REAL, *found.synthetic))
    yield _row("nothing (theta alone)", f"{fmean(found.bases(THETA)):.3f}", "", *_each(found.bases(THETA)))
    yield _row("nothing (theta as it was)", f"{fmean(found.bases(RAW)):.3f}", "", *_each(found.bases(RAW)))
    yield _row("guessing an object of the asked relation", f"{guessed:.3f}", "", *[""] * len(plan.bases))
    short = found.bases(SHORT)
    yield from ("", f"![F1 on the test questions, by what was tuned on]({picture})", "")
    yield (
        f"At their own length of {plan.base.tokens} tokens the bases reach {', '.join(_each(short))}; guessing, "
        f"{found.guessed('short'):.3f}."
    )
    yield from _section(
        "Retrieval heads of the real-tuned models, by layer", ("model", *map(str, range(plan.base.layers)))
    )
    for folder, scores in zip(found.folders(REAL), found.heads(REAL), strict=True):
        heads = found.retrieval_heads(scores)
        yield _row(str(folder.relative_to(found.study.root)), *(" ".join(map(str, one)) or "-" for one in heads))
    yield from _section(
        "Knockout", ("base", "none", "retrieval heads", "random (by control)", "without layer 0, 1, ...")
    )
    for base in plan.bases:
        knocked = found.knockout(base)
        drawn = "; ".join(f"{control}: {', '.join(_each(draws))}" for control, draws in knocked.random.items() if draws)
        yield _row(
            str(base), f"{knocked.none:.3f}", f"{knocked.retrieval:.3f}", drawn, ", ".join(_each(knocked.layers))
        )
    names = ("recipient", "donor", "intersect", "complement", "random")
    yield from _section("Patching from the real-tuned reference", ("recipient", *names[:2], *names[2:]))
    for (base, variant), one in found.patched().items():
        yield _row(f"base {base}, {variant}", *(_patched(*one[name]) if name in one else "-" for name in names))
    yield from ("", "## What was tried", "", (HERE / "tried.md").read_text().rstrip())


def _patched(f1: float, heads: int) -> str:
    return f"{f1:.3f}" + f" ({heads} heads)" * bool(heads)


def _f1(found: Results, variant: str) -> str:
    values, seeds = found.tuned(variant), len(found.study.plan.seeds)
    mean = over(values, variant)
    by_base = [", ".join(_each(values[i : i + seeds])) for i in range(0, len(values), seeds)]
    return _row(variant, f"{mean.mean:.3f}", f"[{mean.low:.3f}, {mean.high:.3f}]", *by_base)


def _each(values: Sequence[float]) -> list[str]:
    return [f"{value:.3f}" for value in values]


def _section(title: str, columns: Sequence[str]) -> Iterable[str]:
    yield from ("", f"## {title}", "", _row(*columns), _row(*["---"] * len(columns)))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
