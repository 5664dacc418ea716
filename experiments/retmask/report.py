"""RETMASK.md: what tuning on answers with and without retrieval heads gives, in tables."""

from collections.abc import Iterable
from pathlib import Path

from experiments.claims import judge, row, section, with_interval
from experiments.recipe.tasks import DEVELOPMENT, JUDGING
from experiments.retmask.tasks import RANDOM, RETRIEVAL, Study, chosen_rate, mean_f1, read_pairs
from synthctx_data import CONTENT_VERSION
from synthctx_data.files import write_text
from training.answer_scores import mean

_HEAD = """# What RetMask gives, in miniature

Written by `python experiments/retmask/run.py` from the plan `{name}`, where all choices stand that were made before. The model is the
miniature's kept base ([docs/miniature.md](../../docs/miniature.md)), tuned on `{tuned_on}`. It answered {rows} further rows, with all
its heads and without {heads} of them. DPO tuned it to prefer the former where they differ; the right answers of these rows were not
used. F1 is that on real questions of the miniature's world (seeds: {seeds}). Intervals are for other questions; there is one
base. The rows are those of content version {content}."""


def write_report(study: Study, file: Path, plan: Path) -> Path:
    """The file of the report."""
    write_text(file, "\n".join(_lines(study, plan.name)) + "\n")
    return file


def _lines(study: Study, name: str) -> Iterable[str]:
    plan = study.plan
    head = {"name": name, "tuned_on": plan.tuned_on, "rows": plan.rows, "heads": plan.heads, "seeds": len(plan.seeds)}
    yield _HEAD.format(**head, content=CONTENT_VERSION)
    before, after = (
        study.f1(JUDGING, study.tuned),
        {kind: mean_f1(study, JUDGING, kind, chosen_rate(study, kind)) for kind in (RETRIEVAL, RANDOM)},
    )
    yield from section("Judged", ("question", "difference in F1", "n", "verdict"))
    for says, one, other in (
        ("Does RetMask help?", after[RETRIEVAL], before),
        ("Does it help more than the same with random heads?", after[RETRIEVAL], after[RANDOM]),
        ("Do random heads help?", after[RANDOM], before),
    ):
        found = mean((one - other).tolist(), 1000, ("retmask", says))
        verdict = judge(found.low, found.high, plan.bound)
        yield row(says, with_interval(found.mean, found.low, found.high), f"{found.rows} questions", verdict)
    yield from section(
        "F1",
        ("without", "learning rate", "development", "judging"),
        "A learning rate that was chosen on the development questions is bold.",
    )
    yield row("(before)", "", *(f"{study.f1(test, study.tuned).mean():.3f}" for test in (DEVELOPMENT, JUDGING)))
    for kind in (RETRIEVAL, RANDOM):
        for rate in plan.learning_rates:
            shown = f"**{rate:g}**" if rate == chosen_rate(study, kind) else f"{rate:g}"
            yield row(
                kind, shown, *(f"{mean_f1(study, test, kind, rate).mean():.3f}" for test in (DEVELOPMENT, JUDGING))
            )
    yield from section(
        "Pairs",
        ("without", "rows", "answered otherwise", "F1 with all heads", "F1 without them"),
        "Random heads are of the same layers.",
    )
    for kind, seed in ((RETRIEVAL, plan.seeds[0]), *((RANDOM, seed) for seed in plan.seeds)):
        about = read_pairs(study, kind, seed)
        yield row(kind, str(about["rows"]), str(about["pairs"]), f"{about['f1']:.3f}", f"{about['f1_without']:.3f}")
