"""The task of inspect: inspect eval harnesses/inspect_task.py -T data=synthctx/mdqa_synth:real_haystack --model ..."""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from harnesses.rows import CITATIONS, SHORT, names_of, question, rows_of, scores

_MOST = 64  # tokens of an answer


@task  # type: ignore[untyped-decorator]
def synthctx(data: str = "", split: str = "validation") -> Task:
    """The rows of a data set, as PLACE:VARIANT, with the scores of training/evaluate.py."""
    rows = rows_of(data, split, "-T data=PLACE:VARIANT").to_list()
    samples = [
        Sample(
            id=row["id"], input=[ChatMessageUser(content=question(row))], target=row["answers"], metadata={"row": row}
        )
        for row in rows
    ]
    measured = _citations() if names_of(rows[0]) == CITATIONS else _short()
    return Task(
        dataset=MemoryDataset(samples),
        solver=generate(),
        scorer=measured,
        config=GenerateConfig(max_tokens=_MOST),
    )


def _metrics(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: [mean(), stderr()] for name in names}


async def _score(state: TaskState, target: Target) -> Score:
    return Score(value=dict(scores(state.metadata["row"], state.output.completion)), answer=state.output.completion)


@scorer(metrics=_metrics(SHORT))  # type: ignore[untyped-decorator]
def _short() -> Scorer:
    """The scores of short answers."""
    return _score


@scorer(metrics=_metrics(CITATIONS))  # type: ignore[untyped-decorator]
def _citations() -> Scorer:
    """The scores of citations."""
    return _score
