"""The options of finding, knocking out, patching and comparing heads, and of ranking data sets."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from cyclopts import Parameter
from pydantic import Field, field_validator, model_validator

from synthctx_data.errors import UsageError
from synthctx_data.option_model import SEVERAL, OptionModel, panel
from training.options import (
    ANSWERS_PANEL,
    DATA_PANEL,
    Folder,
    ModelOptions,
    Name,
    Positive,
    ReadingOptions,
    Recipe,
    Split,
)

ScoreName = Literal["wu", "wu_forced", "mass", "qrhead", "logit", "edge", "ablate"]

_HEADS = panel("Heads", 0)


class DetectOptions(ReadingOptions):
    """The options of finding heads."""

    score: Annotated[ScoreName, _HEADS] = "wu"
    """The score of a head; see below."""
    calibrate: Annotated[bool, _HEADS] = True
    """For the score mass: subtract the score under the empty question N/A."""
    span: Annotated[Literal["needle", "sentence"], _HEADS] = "needle"
    """What counts as the needle: all of it, or only the sentence that states its answer."""
    top: Annotated[Positive, _HEADS] = 10
    """Heads to show."""
    output: Annotated[Folder | None, DATA_PANEL] = None
    """The folder of scores and figures. Default: heads/MODEL/DATA_SPLIT_SCORE."""

    @model_validator(mode="after")
    def _calibrates_mass(self) -> Self:
        if not self.calibrate and self.score != "mass":
            other = "qrhead is always calibrated" if self.score == "qrhead" else "it is read with --score mass only"
            raise UsageError(f"--no-calibrate: {other}; leave it out")
        return self

    def decisive(self) -> dict[str, Any]:
        """The options that decide the scores of a row."""
        return self.model_dump(exclude={"output", "limit", "top"})


class AtlasOptions(ModelOptions):
    """The options of a model's entry in the atlas."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$"), _HEADS]
    """The model's name in the atlas, such as smollm2-135m."""
    data: Annotated[list[Name], Field(min_length=1), SEVERAL, DATA_PANEL]
    """Data sets, as PLACE:VARIANT, one for each number of tokens."""
    split: Annotated[Split, DATA_PANEL] = "validation"
    """The split whose rows are read."""
    limit: Annotated[Positive, DATA_PANEL] = 20
    """Rows of each data set to score heads on."""
    slow_limit: Annotated[Positive, DATA_PANEL] = 8
    """Rows for the scores edge and ablate, which take longest."""
    scores: Annotated[list[ScoreName], Field(min_length=1), SEVERAL, _HEADS] = list(get_args(ScoreName))
    """The scores of a head; see analysis/detect.py --help."""
    output: Annotated[Folder, DATA_PANEL] = "analysis/atlas"
    """The folder of the atlas."""
    work: Annotated[Name, DATA_PANEL] = "heads/atlas"
    """The folder of unfinished work."""

    @field_validator("work")
    @classmethod
    def _can_be_a_folder(cls, value: str) -> str:
        if Path(value).exists() and not Path(value).is_dir():
            raise UsageError(f"--work: expected a folder, and {value} is a file")
        return value


class ExportOptions(OptionModel):
    """The options of an export of heads for another tool."""

    heads: Annotated[Name, _HEADS]
    """The folder (or file) of the heads' scores, from analysis/detect.py, or an entry of the atlas, such as atlas:smollm2-135m."""
    format: Annotated[Literal["duoattention", "retmask", "ranking"], _HEADS]
    """The tool that reads the heads; see below."""
    output: Annotated[Folder, DATA_PANEL]
    """The folder that is written."""
    sink_size: Annotated[Positive, _HEADS] = 128
    """For duoattention: the first tokens that every head keeps."""
    recent_size: Annotated[Positive, _HEADS] = 256
    """For duoattention: the last tokens that every head keeps."""

    @model_validator(mode="after")
    def _has_sizes_where_they_are_read(self) -> Self:
        sizes = {"sink_size", "recent_size"} & self.changed().keys()
        if sizes and self.format != "duoattention":
            raise UsageError(f"--{min(sizes).replace('_', '-')}: only --format duoattention has it; leave it out")
        return self


class AnswersOptions(ReadingOptions):
    """The options of answers under several conditions."""

    batch_size: Annotated[Positive | None, ANSWERS_PANEL] = None
    """Rows that are answered at once. Default: those on one context, at most 16, else one."""
    max_new_tokens: Annotated[Positive, ANSWERS_PANEL] = 64
    """Tokens of an answer at most."""

    def decisive(self) -> dict[str, Any]:
        """The options that decide the answers under a condition of a given name."""
        return self.model_dump(include=set(ReadingOptions.model_fields) | {"max_new_tokens"}, exclude={"limit"})


class PreferencesOptions(AnswersOptions):
    """The options of pairs of answers with and without retrieval heads."""

    heads: Annotated[Name, _HEADS]
    """The folder (or file) of the heads' scores, from analysis/detect.py, or an entry of the atlas."""
    top: Annotated[Positive, _HEADS] = 10
    """How many of the highest heads the rejected answers are written without."""
    mode: Annotated[Literal["zero", "mean", "uniform"], _HEADS] = "zero"
    """How heads are knocked out; see analysis/knockout.py --help."""
    phase: Annotated[Literal["prefill", "answer", "both"], _HEADS] = "both"
    """When heads are knocked out: while the model reads, while it answers, or both."""
    split: Annotated[Split, DATA_PANEL] = "train"
    """The split whose rows are answered."""
    output: Annotated[Folder | None, DATA_PANEL] = None
    """The folder of answers and pairs. Default: preferences/MODEL/DATA_SPLIT_TOP."""

    def decisive(self) -> dict[str, Any]:
        """The options that decide the answers under a condition of a given name."""
        return {**super().decisive(), **self.model_dump(include={"mode", "phase"})}


class TraceOptions(AnswersOptions):
    """The options of traces of attention."""

    heads: Annotated[Name, _HEADS]
    """The folder (or file) of the heads' scores, from analysis/detect.py, or an entry of the atlas."""
    top: Annotated[Positive, Field(le=20), _HEADS] = 5
    """How many of the highest heads are traced."""
    rows: Annotated[list[Name], SEVERAL, Parameter(show_default=False), DATA_PANEL] = []
    """The rows, by id or by number (from 0). Default: the first --limit."""
    limit: Annotated[Positive | None, DATA_PANEL] = None
    """Rows to trace. Default: 4, or all --rows."""
    output: Annotated[Folder | None, DATA_PANEL] = None
    """The folder of traces and answers. Default: traces/MODEL/DATA_SPLIT."""

    @model_validator(mode="after")
    def _names_rows_once(self) -> Self:
        if self.rows and self.limit is not None:
            raise UsageError("--rows, --limit: expected one of them, got both")
        return self


class ConditionOptions(AnswersOptions):
    """The options that all experiments with answers under several conditions share."""

    seeds: Annotated[Positive, _HEADS] = 3
    """Draws of each control."""
    resamples: Annotated[Positive, Field(le=1_000_000), ANSWERS_PANEL] = 1000
    """Resamples of the bootstrap."""


class KnockoutOptions(ConditionOptions):
    """The options of a knockout."""

    heads: Annotated[Name, _HEADS]
    """The folder (or file) of the heads' scores, from analysis/detect.py."""
    top: Annotated[list[Positive], Field(min_length=1), SEVERAL, _HEADS] = [1, 2, 5, 10, 20]
    """Numbers of the highest heads that are knocked out together. Each number is tried in turn."""
    mode: Annotated[Literal["zero", "mean", "uniform", "edge"], _HEADS] = "zero"
    """How heads are knocked out; see below."""
    phase: Annotated[Literal["prefill", "answer", "both"], _HEADS] = "both"
    """When heads are knocked out: while the model reads, while it answers, or both."""
    controls: Annotated[list[Literal["same", "other", "all"]], Field(min_length=1), SEVERAL, _HEADS] = [
        "same",
        "other",
        "all",
    ]
    """The layers that as many random heads are drawn from: those of the highest heads, others, or all."""
    exclude_layers: Annotated[list[Annotated[int, Field(ge=0)]], SEVERAL, Parameter(show_default=False), _HEADS] = []
    """Layers from which no control head is drawn, e.g. the first, which the model cannot do without."""
    output: Annotated[Folder | None, DATA_PANEL] = None
    """The folder of answers, curves and table. Default: knockout/MODEL/DATA_SPLIT_MODE_PHASE."""

    def decisive(self) -> dict[str, Any]:
        """The options that decide the answers under a condition of a given name."""
        return {**super().decisive(), **self.model_dump(include={"mode", "phase"})}


class PatchOptions(ConditionOptions):
    """The options of patching heads."""

    donor_adapter: Annotated[Name | None, _HEADS] = None
    """The adapter whose heads are patched in."""
    donor_model: Annotated[Name | None, _HEADS] = None
    """The model whose heads are patched in. Default: the donor adapter's."""
    heads: Annotated[Name, _HEADS]
    """The folder (or file) of the recipient's scores, from analysis/detect.py."""
    donor_heads: Annotated[Name, _HEADS]
    """The folder (or file) of the donor's scores."""
    top: Annotated[Positive, _HEADS] = 10
    """How many of the highest heads of each model are its retrieval heads."""
    positions: Annotated[Literal["answer", "question", "needle", "all"], _HEADS] = "all"
    """Where heads are patched. The paper does not say."""
    output: Annotated[Folder | None, DATA_PANEL] = None
    """The folder of answers and table. Default: patch/MODEL/DATA_SPLIT_DONOR_POSITIONS."""

    def decisive(self) -> dict[str, Any]:
        """The options that decide the answers under a condition of a given name."""
        return {**super().decisive(), **self.model_dump(include={"donor_adapter", "donor_model", "positions"})}


class CompareOptions(OptionModel):
    """The options of a comparison."""

    heads: Annotated[list[Name], Field(min_length=2), SEVERAL]
    """Scores of heads, as NAME=FOLDER. Seeds of a variant are named VARIANT/SEED."""
    reference: Name
    """The name of the model that the others are compared with: the one trained on real data."""
    f1: Annotated[list[Name], SEVERAL, Parameter(show_default=False)] = []
    """Evaluations (training/evaluate.py) of some of the models, as NAME=FOLDER."""
    top: Annotated[list[Positive], Field(min_length=1), SEVERAL] = [10, 20]
    """How many of the highest heads are compared."""
    thresholds: Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], SEVERAL] = [0.0, 0.1, 0.5]
    """The scores from which on a head is a retrieval head; 0: any score above 0."""
    output: Folder = "comparison"
    """The folder of tables and figures."""


class RankOptions(Recipe):
    """The options of a ranking: the recipe of the short tuning, the candidates, and the target that they stand in for."""

    target: Annotated[Name, DATA_PANEL]
    """The data that the model is wanted for, as PLACE:VARIANT: the real ones."""
    target_split: Annotated[Split, DATA_PANEL] = "validation"
    """The split of the target on which heads are scored."""
    limit: Annotated[Positive, DATA_PANEL] = 32
    """Rows of the target to score heads on."""
    output: Annotated[Folder, DATA_PANEL] = "ranking"
    """The folder of adapters, scores and table."""
    score: Annotated[ScoreName, _HEADS] = "wu_forced"
    """The score of a head; see analysis/detect.py --help."""
    max_steps: Annotated[Positive | None, panel("Schedule", 4)] = 50
    """Steps of the short tuning on each candidate."""
    save_steps: Annotated[Positive, panel("Log and checkpoints", 6)] = 10
    """Steps between two checkpoints. The last two checkpoints are kept."""
