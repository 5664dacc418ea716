"""The section of a card about one config: its sizes, the command that makes it again, and what it was made from."""

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from builders.hub.card_picture import PLOT, draw_card_picture
from builders.shards import Build
from builders.writing.sample import SAMPLE_MODEL
from builders.writing.store import ANSWERS
from synthctx_data import __version__
from synthctx_data.files import Place, expanded
from synthctx_data.manifest import read_manifest, stands_out
from synthctx_data.option_model import flag
from synthctx_data.options import PATHS
from synthctx_data.prompts import environment, source_hash
from synthctx_data.survey import Survey
from synthctx_data.task import Task

CARD_TEMPLATES = Path(__file__).resolve().parents[2] / "dataset_cards"
_STORE = "answers.sqlite"  # the name of a store of answers in the commands of a card
LICENSES = frozenset({"apache-2.0", "cc-by-4.0", "cc-by-sa-3.0", "other", "unknown"})  # that `license_of` may return
templates = environment(CARD_TEMPLATES)
Describe = Callable[[Task, Build, Survey, str, Place], str]  # writes the text about a built variant


def citation(address: str, task: str) -> str:
    """The BibTeX entries of the data set at this address, of the paper, and of this software."""
    return templates.get_template("_citation.bib").render(version=__version__, address=address, task=task)


def describe_variant(task: Task, build: Build, survey: Survey, address: str, folder: Place) -> str:
    """The section about a built variant, as Markdown. Its picture is written into `folder`, where its manifest lies."""
    draw_card_picture(survey, f"{task.name}: {build.variant}", folder / PLOT)
    manifest = read_manifest(folder)
    tokenizer = build.options.tokenizer
    answers = ANSWERS if (folder / ANSWERS).exists() else None
    expression = task.variant(build.variant).expression.name
    return templates.get_template("_config.md").render(
        task=task.name,
        variant=build.variant,
        address=address,
        survey=survey,
        manifest=manifest,
        command=command(task, build, answers),
        tokenizer=code(_name(tokenizer)) if tokenizer else "the one that comes with synthctx",
        corpus=", ".join(code(_name(corpus)) for corpus in build.options.corpus),
        license=license_of(task, manifest),
        wording=fmean(survey.wordings) if survey.wordings else None,
        expression=expression,
        prompts=source_hash(expression, f"{task.name}/{expression}") if manifest.get("model") else "",
        answers=answers,
        store=_STORE,
        plot=PLOT,
        stands_out=_stands_out(build, manifest),
    )


def _stands_out(build: Build, manifest: Mapping[str, Any]) -> str:
    """The reason why needles stand out by design, in words; empty if they must not."""
    padded = build.variant.endswith("padding") and "whatever is no padding is a needle: this is the paper's design"
    return stands_out(manifest) or padded or ""


def command(task: Task, build: Build, answers: str | None) -> str:
    """The command that makes the variant again, without the paths of this machine."""
    given = {**{name: getattr(build.options, name) for name in ("max_tokens", "seed")}, **build.options.changed()}
    sizes = task.sizes(build.options)
    given |= {"train": sizes.get("train", 0), "validation": sizes.get("validation", 0)}
    given.pop("store", None)
    words = ["synthctx", "build", task.name, build.variant]
    for option, value in given.items():
        for one in value if isinstance(value, tuple) else (value,):
            words += [flag(option), _name(one) if option in PATHS else str(one)]
    return " ".join(map(_quoted, [*words, *(["--store", _STORE] if answers else [])]))


def _quoted(word: str) -> str:
    """The word as a shell reads it, on one line, and without what would end a comment or a block of code in a card."""
    if word.isprintable() and "<!--" not in word and "`" not in word:
        return shlex.quote(word)
    escaped = "".join(c if c.isalnum() or c in " ._/-" else _escape(c) for c in word)
    return f"$'{escaped}'"


def _escape(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def licenses_of(task: Task, manifest: Mapping[str, Any]) -> set[str]:
    """The licences of a built variant, as Hubs name them. A mixture has those of its parts."""
    if "mixture" not in manifest:
        return {license_of(task, manifest)}
    return {license for part in manifest["mixture"] for license in licenses_of(task, part["made"])}


def license_of(task: Task, manifest: Mapping[str, Any]) -> str:
    """The licence of a built variant, as Hubs name it."""
    if manifest["variant"] not in task.variants:
        return "unknown"
    expression = task.variant(manifest["variant"]).expression
    if manifest.get("model") not in (None, SAMPLE_MODEL):
        return "other"
    return "unknown" if manifest.get("corpus") and "corpus" not in expression.reads else expression.license


def code(text: str) -> str:
    """The text as code for a Markdown table. Characters that would break the table are replaced."""
    plain = " ".join(text.split()).replace("`", "'").replace("|", "\\|").replace("<!--", "<! --")
    return f"`{plain}`"


def _name(place: str) -> str:
    """The name of a place: a Hub id as it is, or the last part of a path. A tokenizer.json is named with its folder."""
    path = Path(os.path.abspath(expanded(place)))  # noqa: PTH100  # a link keeps its name
    if not path.exists():
        return place
    return "/".join(path.parts[-2:]) if path.name == "tokenizer.json" else path.name


templates.filters["code"] = code
