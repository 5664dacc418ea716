"""The atlas of heads: the scores of all heads of some models, by every score and at several numbers of tokens."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.engine.detect import find_heads
from analysis.figures import meaning, plain_map
from analysis.heads import HeadScores
from analysis.options import AtlasOptions, DetectOptions, ScoreName
from synthctx_data.command import err
from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.files import write_text
from training.options import ModelOptions
from training.plots import saved_grid

Scores = dict[tuple[ScoreName, int], HeadScores]  # by score and tokens
_SLOW = ("edge", "ablate")
_SHOWN = 5  # heads that a page names


def add_model(options: AtlasOptions) -> Path:
    """The folder of the model in the atlas, after its scores, their picture and a page are written there.

    Raises: UsageError if model or data cannot be loaded, or if two data sets have the same number of tokens; DatasetError if no score can
        be had.
    """
    folder, found = Path(options.output) / options.name, Scores()
    places = _by_tokens(options)
    for tokens, place in places.items():
        for score in options.scores:
            err.print(f"{score} at {tokens:,} tokens", soft_wrap=True)
            try:
                found[score, tokens] = find_heads(_detecting(options, place, score, tokens))
            except DatasetError as error:  # a model that answers nothing has no score wu, and all others
                err.print(f"{score} at {tokens:,} tokens is left out: {error}", soft_wrap=True)
    if not found:
        raise DatasetError("expected a score that can be had of these rows, and there is none; see above")
    for (score, tokens), heads in found.items():
        heads.save(folder / score / f"{tokens}.safetensors")
    _draw(found, folder / "heads", options.name)
    write_text(folder / "README.md", "\n".join(_page(options, found, places)) + "\n")
    return folder


def _by_tokens(options: AtlasOptions) -> dict[int, str]:
    """The data sets by their number of tokens: that of the longest row, rounded up to a multiple of 256."""
    found: dict[int, str] = {}
    for place in options.data:
        rows = load_rows(parse_variant_address(place), options.split, options.limit)
        tokens = -(-max(rows["num_tokens"]) // 256) * 256
        if tokens in found:
            raise UsageError(
                f"--data: expected data sets of different lengths, and {found[tokens]} and {place} have {tokens} tokens"
            )
        found[tokens] = place
    return dict(sorted(found.items()))


def _detecting(options: AtlasOptions, place: str, score: ScoreName, tokens: int) -> DetectOptions:
    model = options.model_dump(include=set(ModelOptions.model_fields))
    limit = min(options.slow_limit, options.limit) if score in _SLOW else options.limit
    output = str(Path(options.work) / options.name / f"{tokens}_{score}")
    return DetectOptions(**model, data=place, split=options.split, score=score, limit=limit, output=output)


def _draw(found: Scores, file: Path, name: str) -> None:
    """Draws a map for each score and number of tokens: a row of maps for each score."""
    scores, lengths = (list(dict.fromkeys(key[i] for key in found)) for i in (0, 1))
    with saved_grid(file, (len(scores), len(lengths)), (2.6, 2.2), name) as axes:
        for (score, tokens), heads in found.items():
            one = axes[scores.index(score)][lengths.index(tokens)]
            plain_map(heads.values, one, 9)
            one.set_title(f"{meaning(heads)}\n{tokens:,} tokens, up to {np.nanmax(heads.values):.2g}", fontsize=6)


def _page(options: AtlasOptions, found: Scores, places: Mapping[int, str]) -> Iterable[str]:
    any_heads = next(iter(found.values()))
    layers, heads = any_heads.values.shape
    yield f"# Heads of {options.name}"
    yield ""
    yield f"Scores of all {layers} x {heads} heads, written by `python analysis/add_to_atlas.py`. What each score means stands in"
    yield (
        '`python analysis/detect.py --help`. `HeadScores.load("atlas:'
        + options.name
        + '/SCORE/TOKENS")` reads them, with the scores of each row.'
    )
    yield ""
    yield "| score | tokens | rows | ceiling | highest heads (layer-head: score, 95 % interval) |"
    yield "| --- | --- | --- | --- | --- |"
    for (score, tokens), one in found.items():
        yield f"| {score} | {tokens} | {len(one.examples)} of {one.about['asked']} | {_ceiling(one)} | {_highest(one)} |"
    yield ""
    yield "![Maps of all scores](heads.svg)"
    yield ""
    yield "## How they were made"
    yield ""
    weights = any_heads.about["weights"]
    for tokens, place in places.items():
        data: dict[str, Any] = next((one.about["data"] for (_, at), one in found.items() if at == tokens), {})
        yield f"- {tokens} tokens: `{place}`, split {options.split}, fingerprint {data.get('fingerprint', data.get('revision'))}"
    yield f"- model: `{options.model}`, {weights[0]}"
    yield ""
    yield "```bash"
    yield f"python analysis/add_to_atlas.py {shlex.join(_arguments(options))}"
    yield "```"


def _arguments(options: AtlasOptions) -> list[str]:
    """The options that are not the defaults, as on a command line."""
    given: dict[str, Any] = options.changed()
    words: list[str] = []
    for name, value in given.items():
        if name not in ("output", "work"):
            words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list | tuple) else [value])]
    return words


def _ceiling(heads: HeadScores) -> str:
    return f"{heads.about['ceiling']:.2f}" if "ceiling" in heads.about else "-"


def _highest(heads: HeadScores) -> str:
    low, high = heads.intervals()
    return "; ".join(
        f"{layer}-{head}: {heads.values[layer, head]:.2g} [{low[layer, head]:.2g}, {high[layer, head]:.2g}]"
        for layer, head in heads.top(_SHOWN)
    )
