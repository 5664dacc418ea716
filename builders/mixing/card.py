"""The section of a card about a mixture: its recipe, its parts, and the floors of its rows."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from builders.hub.card_picture import PLOT, draw_card_picture
from builders.hub.card_section import Describe, licenses_of, templates
from builders.mixing.recipe import MixtureRecipe
from builders.shards import Build
from synthctx_data.dataset import parse_variant_address
from synthctx_data.files import Place
from synthctx_data.manifest import read_manifest, stands_out
from synthctx_data.survey import Survey
from synthctx_data.task import Task


def describe_mixture(recipe: MixtureRecipe) -> Describe:
    """The function that writes the section about the mixture of a recipe, for `update_card`."""

    def describe(task: Task, build: Build, survey: Survey, address: str, folder: Place) -> str:
        draw_card_picture(survey, f"{task.name}: {build.variant}", folder / PLOT)
        manifest = read_manifest(folder)
        return templates.get_template("_mixture.md").render(
            task=task.name,
            variant=build.variant,
            survey=survey,
            manifest=manifest,
            recipe=yaml.safe_dump(_published(recipe), sort_keys=False, allow_unicode=True).strip(),
            license=", ".join(sorted(licenses_of(task, manifest))),
            wording=fmean(survey.wordings) if survey.wordings else None,
            plot=PLOT,
            stands_out=stands_out(manifest),
            parts=[_said(part) for part in manifest["mixture"]],
        )

    return describe


def _said(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a mixture for the table of the card."""
    made = part["made"]
    return {**part, "tokens": made.get("max_tokens"), "fingerprint": made.get("fingerprint", "")}


def _published(recipe: MixtureRecipe) -> dict[str, Any]:
    """The recipe as a card prints it: without the paths of this machine."""
    said = recipe.model_dump(mode="json", exclude_defaults=True)
    named = [{name: _name(name, value) for name, value in part.items()} for part in said["parts"]]
    tokenizer = (
        {"tokenizer": Path(said["tokenizer"]).name}
        if Path(said.get("tokenizer", "")).exists() and "tokenizer" in said
        else {}
    )
    return {**said, **tokenizer, "parts": named}


def _name(key: str, value: Any) -> Any:
    if key == "chat":
        return Path(value).name
    if key == "data" and parse_variant_address(value).is_folder:
        place, variant = value.rsplit(":", 1)
        return f"{'/'.join(Path(place).parts[-2:])}:{variant}"
    return value
