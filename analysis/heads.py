"""Scores of attention heads, stored with their origin: ranking, intervals, and exports for other tools."""

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.files import whole
from synthctx_data.seeding import rng

if TYPE_CHECKING:
    import pandas as pd

Scores = NDArray[np.float32]
Head = tuple[int, int]  # layer, head
SCORES_FILE = "heads.safetensors"
TRACE = "trace.json"  # where heads look, from analysis/trace.py
ATLAS = Path(__file__).resolve().parent / "atlas"  # scores of the heads of some models: MODEL/SCORE/TOKENS.safetensors
_ATLAS = "atlas:"
_LEVEL = 0.95
_RESAMPLES = 1000
_SHOWN = 10  # heads that a notebook shows


@dataclass(frozen=True)
class Scored:
    """The scores of one example: `total` (layer, head), and its parts `steps` (step, layer, head) and `needles` (needle, layer, head).

    Scores are NaN where a layer has no attention. All of them are NaN if the example does not count. `ceiling` is the highest total
    that a head could have; NaN if the score has none.
    """

    id: str
    total: Scores
    steps: Scores
    needles: Scores
    ceiling: float = math.nan


@dataclass(frozen=True, repr=False)
class HeadScores:
    """The scores of a model's heads on a data set: `examples` (example, layer, head), with their origin in `about`.

    `steps` (step, layer, head) and `needles` (needle, layer, head) are means over the examples that have that step or needle. A step
    is a token of the answer. A needle is a hop or a cited document. `contexts` has the number of each example's context: examples on one
    context are not independent. Without it, each example has its own.
    """

    examples: Scores
    steps: Scores
    needles: Scores
    ids: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    contexts: tuple[int, ...] = ()

    @classmethod
    def of(cls, scored: Sequence[Scored], about: Mapping[str, Any], contexts: Sequence[str] = ()) -> "HeadScores":
        """The scores of the examples that count. Examples of equal `contexts` are on one; without any, each has its own.

        Raises: DatasetError if no example counts.
        """
        if not scored:
            raise DatasetError("expected rows to score heads on, got none")
        on = {one.id: context for one, context in zip(scored, contexts or [one.id for one in scored], strict=True)}
        counted = [one for one in scored if not np.isnan(one.total).all()]
        if not counted:
            raise DatasetError(
                f"expected examples that the model answers, and it answers none of {len(scored)}; take a model that was trained for "
                "them, or --score wu_forced, which needs no right answer, and another --output"
            )
        return cls(
            np.stack([one.total for one in counted]),
            _mean_of_ragged([one.steps for one in counted]),
            _mean_of_ragged([one.needles for one in counted]),
            tuple(one.id for one in counted),
            {**about, "asked": len(scored), "counted": len(counted), **_ceiling(counted)},
            _numbered([on[one.id] for one in counted]),
        )

    @property
    def values(self) -> Scores:
        """The mean score (layer, head) over the examples."""
        return np.asarray(self.examples.mean(0))

    def resampled(self, *name: str | int) -> Scores:
        """The means (resample, layer, head) of 1000 bootstrap resamples of the contexts, each with all of its examples.

        The same `name` draws the same contexts from all scores with the same number of contexts.
        """
        contexts = np.asarray(self.contexts or range(len(self.examples)))
        count = int(contexts.max()) + 1
        drawn = np.asarray(rng("bootstrap", *name).integers(count, count * _RESAMPLES)).reshape(_RESAMPLES, count)
        times = np.stack([np.bincount(row, minlength=count) for row in drawn])[:, contexts]
        shares = times / times.sum(1, keepdims=True)
        means = shares.astype(np.float32) @ self.examples.reshape(len(contexts), -1)
        return np.asarray(means.reshape(_RESAMPLES, *self.values.shape))

    def intervals(self) -> tuple[Scores, Scores]:
        """The lower and the upper end (layer, head) of the 95 % bootstrap interval of each mean, for other contexts."""
        low, high = np.quantile(self.resampled("heads"), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], axis=0)
        return low, high

    def ranked(self) -> list[Head]:
        """All heads that have a score, the highest first; ties in the order of layer and head."""
        return rank_heads(self.values)

    def top(self, number: int) -> list[Head]:
        """The `number` heads with the highest scores, the highest first.

        Raises: UsageError if the number is below 0.
        """
        if number < 0:
            raise UsageError(f"expected a number of heads, got {number}")
        return rank_heads(self.values, number)

    def above(self, threshold: float) -> list[Head]:
        """The heads whose score is at least the threshold, the highest first."""
        return rank_heads(self.values, int(np.count_nonzero(self.values >= threshold)))

    def to_frame(self) -> "pd.DataFrame":
        """A table of all heads that have a score, the highest first: layer, head, score, and the ends of its 95 % interval."""
        import pandas as pd

        low, high = self.intervals()
        columns = ("layer", "head", "score", "low", "high")
        rows = [(*head, *(float(values[head]) for values in (self.values, low, high))) for head in self.ranked()]
        return pd.DataFrame(rows, columns=columns)

    def ranking(self) -> dict[str, Any]:
        """All heads that have a score, the highest first, with their intervals, and what was scored: as heads.json has them."""
        low, high = self.intervals()
        ranked = [
            {"layer": head[0], "head": head[1], **{name: float(values[head]) for name, values in each}}
            for head in self.ranked()
            for each in [[("score", self.values), ("low", low), ("high", high)]]
        ]
        return {"about": dict(self.about), "heads": ranked}

    def __repr__(self) -> str:
        layers, heads = self.values.shape
        score, highest = self.about.get("score", "scores"), ", ".join(f"{layer}-{head}" for layer, head in self.top(3))
        return f"HeadScores({score} of {layers} layers of {heads} heads over {len(self.examples)} examples, highest: {highest})"

    def _repr_html_(self) -> str:
        table = self.to_frame().head(_SHOWN).to_html(index=False, float_format="{:.3f}".format, border=0)
        return f"<p>{html.escape(repr(self))}</p>{table}"

    def save(self, file: str | Path) -> Path:
        """The file, after the scores are written into it as safetensors, whole or not at all."""
        file = Path(file)
        arrays = {"examples": self.examples, "steps": self.steps, "needles": self.needles}
        described = {"about": json.dumps({**self.about, "ids": self.ids, "contexts": self.contexts})}
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole(file) as aside:
            aside.write_bytes(save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, metadata=described))
        return file

    @classmethod
    def load(cls, place: str | Path) -> "HeadScores":
        """The scores in a file, in a folder that `python analysis/detect.py` wrote, or in the atlas.

        In the atlas, the place is "atlas:MODEL", "atlas:MODEL/SCORE" or "atlas:MODEL/SCORE/TOKENS", such as
        "atlas:smollm2-135m/logit/4096". Default: wu_forced, in the shortest contexts.

        Raises: DatasetError if there are no scores.
        """
        file = in_atlas(place) if isinstance(place, str) and place.startswith(_ATLAS) else Path(place)
        file = file / SCORES_FILE if file.is_dir() else file
        try:
            with safe_open(file, "np") as arrays:
                about = json.loads(arrays.metadata()["about"])
                ids, contexts = tuple(about.pop("ids")), tuple(about.pop("contexts", ()))
                examples, steps, needles = (arrays.get_tensor(name) for name in ("examples", "steps", "needles"))
                if examples.ndim != 3 or not examples.size or np.isnan(examples).all():
                    raise ValueError(f"expected scores (example, layer, head), got {examples.shape}")
                if len(ids) != len(examples) or len(contexts) not in (0, len(ids)):
                    raise ValueError(f"expected an id and a context for each of {len(examples)} examples")
                if not all(isinstance(one, int) and one >= 0 for one in contexts):
                    raise ValueError("expected contexts to be numbers from 0")
                return cls(examples, steps, needles, ids, about, contexts)
        except (OSError, SafetensorError, AttributeError, TypeError, KeyError, ValueError) as error:
            said = f"there is no {error}" if isinstance(error, KeyError) else error
            raise DatasetError(
                f"expected scores of heads in {file}: {said}; make them:  python analysis/detect.py --help"
            ) from error

    def by_head(self) -> dict[str, list[float]]:
        """The scores of all examples by "LAYER-HEAD". This is the format of Wu et al.'s code, which KV-compression tools read.

        Source: retrieval_head_detection.py of github.com/nightdessert/Retrieval_Head.
        """
        layers, heads = self.values.shape
        return {
            f"{layer}-{head}": [round(float(value), 6) for value in self.examples[:, layer, head]]
            for layer in range(layers)
            for head in range(heads)
            if not np.isnan(self.examples[:, layer, head]).any()
        }

    def by_head_line(self) -> str:
        """`by_head` as JSON on one line: their programs read the first line of the file."""
        return json.dumps(self.by_head()) + "\n"

    def by_kv_head(self) -> list[list[float]]:
        """The highest mean score (layer, KV head) among the heads that share a key and value.

        A cache keeps or drops an entry for all heads of such a group together.
        """
        layers, heads = self.values.shape
        groups = int(self.about.get("kv_heads", heads))
        shared = self.values.reshape(layers, groups, heads // groups).max(2)
        return [[round(float(value), 6) for value in layer] for layer in np.nan_to_num(shared)]


def in_atlas(address: str) -> Path:
    """The file of scores that an address such as "atlas:smollm2-135m/logit/4096" names.

    Raises: DatasetError if there is none. The message says what there is.
    """
    name, *rest = address.removeprefix(_ATLAS).split("/")
    score, tokens = [*rest, *("wu_forced", "")[len(rest) :]][:2]
    files = sorted(file for file in ATLAS.glob("*/*/*.safetensors") if file.stem.isdecimal())
    there = [
        file
        for file in sorted(files, key=lambda file: int(file.stem))
        if (file.parts[-3], file.parts[-2]) == (name, score) and tokens in ("", file.stem)
    ]
    if not there or len(rest) > 2:
        known = [str(file.relative_to(ATLAS).with_suffix("")) for file in files]
        raise DatasetError(
            f"expected an entry of the atlas, such as atlas:{known[0] if known else 'MODEL'}, got {address!r}; there are "
            f"{', '.join(known) or 'none'}; others are made by analysis/add_to_atlas.py"
        )
    return there[0]


def _numbered(names: Sequence[str]) -> tuple[int, ...]:
    """The number of each name, in the order in which they first come."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return tuple(numbers[name] for name in names)


def _ceiling(counted: Sequence[Scored]) -> dict[str, float]:
    ceiling = float(np.mean([one.ceiling for one in counted]))
    return {} if math.isnan(ceiling) else {"ceiling": round(ceiling, 6)}


def rank_heads(values: Scores, most: int | None = None) -> list[Head]:
    """The heads that have a score (layer, head), at most `most`, the highest first; ties in the order of layer and head."""
    order = np.argsort(-values.ravel(), kind="stable")[: np.count_nonzero(~np.isnan(values))][:most]  # NaN comes last
    layers, heads = np.divmod(order, values.shape[1])
    return list(zip(layers.tolist(), heads.tolist(), strict=True))


def _mean_of_ragged(parts: Sequence[Scores]) -> Scores:
    """The mean (part, layer, head) of each part over the examples that have it."""
    most = max(len(part) for part in parts)
    means = [np.mean([part[i] for part in parts if len(part) > i], axis=0) for i in range(most)]
    return np.asarray(means, np.float32).reshape(most, *parts[0].shape[1:])
