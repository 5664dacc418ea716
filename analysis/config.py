"""What can be chosen: how heads are found, knocked out and patched, and how data sets are ranked."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from training.config import Applied, Count, Name, Recipe, option

ScoreName = Literal["wu", "wu_forced", "mass", "logit", "edge", "ablate"]


class Detection(Applied):
    """The options of a detection of heads."""

    score: ScoreName = option("wu", "How heads are scored; see below.")
    calibrate: bool = option(True, "Score mass: less that of the question N/A.")
    output: Name | None = option(None, "The folder of scores and figures; default: heads/MODEL/DATA_SPLIT_SCORE.")
    top: Count = option(10, "How many heads are shown.")

    def decisive(self) -> dict[str, Any]:
        """The options that decide the scores of a row."""
        return self.model_dump(exclude={"output", "limit", "top"})


class Experiment(Applied):
    """What every experiment on heads has: answers under several conditions."""

    batch_size: Count = option(1, "Rows that are answered at once.")
    max_new_tokens: Count = option(64, "Tokens of an answer at most.")
    seeds: Count = option(3, "Draws of each control.")
    resamples: Count = option(1000, "Resamples of the bootstrap.")

    def decisive(self) -> dict[str, Any]:
        """The options that decide the answers under a condition of a given name."""
        return self.model_dump(include=set(Applied.model_fields) | {"max_new_tokens"}, exclude={"limit"})


class KnockoutOptions(Experiment):
    """The options of a knockout."""

    heads: Name = option(..., "The folder (or file) of the heads' scores, from analysis/detect.py.")
    top: Annotated[list[Count], Field(min_length=1)] = option(
        [1, 2, 5, 10, 20], "How many of the highest heads are knocked out at once, one number after the other."
    )
    mode: Literal["zero", "mean", "uniform", "edge"] = option("zero", "How heads are knocked out; see below.")
    phase: Literal["prefill", "answer", "both"] = option("both", "When: while reading, while answering, or both.")
    exclude_layers: list[Annotated[int, Field(ge=0)]] = option(
        [], "Layers that no control is drawn from: those without which nothing works, such as the first."
    )
    output: Name | None = option(
        None, "The folder of answers, curves and table; default: knockout/MODEL/DATA_SPLIT_MODE_PHASE."
    )

    def decisive(self) -> dict[str, Any]:
        """The options that decide the answers under a condition of a given name."""
        return {**super().decisive(), **self.model_dump(include={"mode", "phase"})}


class PatchOptions(Experiment):
    """The options of a patching of heads."""

    donor_adapter: Name | None = option(None, "The adapter whose heads are patched in.")
    donor_model: Name | None = option(None, "The model whose heads are patched in; default: the donor adapter's.")
    heads: Name = option(..., "The folder (or file) of the recipient's scores, from analysis/detect.py.")
    donor_heads: Name = option(..., "The folder (or file) of the donor's scores.")
    top: Count = option(10, "How many of the highest heads of each are its retrieval heads.")
    positions: Literal["answer", "question", "needle", "all"] = option(
        "all", "Where heads are patched; the paper does not say."
    )
    output: Name | None = option(
        None, "The folder of answers and table; default: patch/MODEL/DATA_SPLIT_DONOR_POSITIONS."
    )

    def decisive(self) -> dict[str, Any]:
        """The options that decide the answers under a condition of a given name."""
        return {**super().decisive(), **self.model_dump(include={"donor_adapter", "donor_model", "positions"})}


class Comparison(BaseModel):
    """The options of a comparison."""

    model_config = ConfigDict(extra="forbid")

    heads: Annotated[list[Name], Field(min_length=2)] = option(..., "Scores of heads, as NAME=FOLDER.")
    reference: Name = option(
        ..., "The name of the model that the others are compared with: the one trained on real data."
    )
    f1: list[Name] = option([], "Evaluations (training/evaluate.py) of some of them, as NAME=FOLDER.")
    top: Annotated[list[Count], Field(min_length=1)] = option([10, 20], "How many of the highest heads are compared.")
    thresholds: list[Annotated[float, Field(allow_inf_nan=False)]] = option(
        [0.1, 0.5], "From which score on a head is a retrieval head."
    )
    output: Name = option("comparison", "The folder of tables and figures.")


class Ranking(Recipe):
    """The options of a ranking: a recipe of the short tuning, its candidates, and what they are wanted for."""

    max_steps: Count | None = option(50, "Steps of the short tuning on each candidate.")
    save_steps: Count = option(10, "Steps between two checkpoints, of which the last two are kept.")
    target: Name = option(..., "The data that the model is wanted for, as ADDRESS:VARIANT: the real ones.")
    target_split: Name = option("validation", "The split of it on which heads are scored.")
    limit: Count = option(32, "How many rows of it.")
    score: ScoreName = option("wu_forced", "How heads are scored (see analysis/detect.py).")
    output: Name = option("ranking", "The folder of adapters, scores and table.")
