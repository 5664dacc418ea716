"""A taskset of verifiers: each row of a data set is a task, and rewards are those of training/rewards.py.

vf-eval synthctx-taskset --env.taskset.data tools/mdqa_synth:templated_haystack ...
"""

from collections.abc import Iterator
from typing import Any, Literal

import verifiers.v1 as vf

from harnesses.rows import question, rows_of
from training.rewards import answer_reward, evidence_reward

__all__ = ["RowTaskset"]


class RowData(vf.TaskData):
    """The data of a task: what the model is asked, and the row, from which its rewards are computed."""

    row: dict[str, Any]


class RowTask(vf.Task[RowData, vf.State, vf.TaskConfig]):
    """A row of a data set."""

    @vf.reward
    async def answer(self, trace: vf.Trace) -> float:
        """The reward for the answer; see `answer_reward`."""
        return self._reward(answer_reward, trace)

    @vf.metric
    async def evidence(self, trace: vf.Trace) -> float:
        """How well quotations are the needles; see `evidence_reward`. It is a metric: make it a reward where rows ask for evidence."""
        return self._reward(evidence_reward, trace)

    def _reward(self, reward: Any, trace: vf.Trace) -> float:
        columns = {name: [value] for name, value in self.data.row.items()}
        found: float = reward(completions=[trace.last_reply], prompts=columns.pop("prompt"), **columns)[0]
        return found


class RowConfig(vf.TasksetConfig):
    """The configuration: a data set as PLACE:VARIANT, and its split."""

    data: str = ""
    split: Literal["train", "validation"] = "train"


class RowTaskset(vf.Taskset[RowTask, RowConfig]):
    """The rows of a split, in order."""

    def load(self) -> Iterator[RowTask]:
        for row in rows_of(self.config.data, self.config.split, "--env.taskset.data PLACE:VARIANT"):
            asked = {name: value for name, value in row.items() if name != "completion"}
            yield RowTask(RowData(id=row["id"], prompt=question(row), row=asked), self.config.task)
