"""`synthctx push`: a built folder, or a variant that is built on the way, onto a Hub."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from builders import find_task, flags
from builders.terminal import INTERRUPTED, err, out, progress_bar
from synthctx_data.errors import DatasetError, HubError, UsageError

if TYPE_CHECKING:
    from builders.card import Card
    from builders.checking import Examined
    from builders.folder import Variant
    from builders.publish import Offer, Publication, Sent
    from builders.shards import Build
    from synthctx_data.task import Task

Sink = Callable[["Task", "Build", int], None]


def push(
    context: typer.Context,
    folder: flags.PushedFolder,
    build_options: flags.BuildOptions = None,
    repo: flags.Repo = None,
    config: flags.Config = None,
    private: flags.Private = False,
    revision: flags.Branch = "main",
    from_variant: flags.FromVariant = None,
    dry_run: flags.DryRun = False,
    force: flags.Force = False,
) -> None:
    """Put variants on the Hugging Face Hub, where load_dataset finds them.

    Each variant goes in one commit, with its part of the card; what is there already is not sent again. Then the whole gets a version: a
    tag such as v1.0.0, and a section in CHANGELOG.md. Called again after an interruption, it goes on where it stopped.

    The token is the one of `hf auth login`, or HF_TOKEN. Another Hub: HF_ENDPOINT.
    """
    from huggingface_hub.utils.tqdm import disable_progress_bars

    from builders.publish import Publication
    from builders.repository import Repository

    if not err.is_terminal:
        disable_progress_bars()
    if build_options and from_variant is None:
        raise UsageError(f"--from-variant: options of a build ({build_options[0]} ...) are read with it only")
    folder = Path(os.path.abspath(folder.expanduser()))  # noqa: PTH100  # a link keeps its name
    found = _task(folder) if from_variant is None else find_task(folder.name)
    repository = Repository(f"synthctx/{found.name}" if repo is None else repo, revision)
    publication = Publication(found, repository, private, dry_run)
    try:
        repository.require_branch()
        if private:
            repository.require_private()
        if from_variant is None:
            _push_folder(publication, folder, config or [], force)
        else:
            _require_alone(config, build_options or [], dry_run)
            command = context.find_root().command.commands["build"]  # type: ignore[attr-defined]  # the root is a group
            words = [found.name, from_variant, "--output", str(folder.parent), *(build_options or [])]
            if command.main(words, standalone_mode=False, obj=partial(_relay, publication, force)) == INTERRUPTED:
                raise KeyboardInterrupt
        version = publication.finish()
    except KeyboardInterrupt:
        raise HubError("interrupted; the same command goes on from there, and sends nothing twice") from None
    _say_version(publication, version)


def _task(folder: Path) -> "Task":
    """The task that a folder's variants are of."""
    from builders.folder import find_variants

    if not folder.is_dir():
        raise UsageError(
            f"expected a folder that synthctx build wrote, such as synthctx/mdqa_synth; there is no {folder}"
        )
    variants = find_variants(str(folder), [])
    unknown = [variant.name for variant in variants if not isinstance(variant.manifest.get("task"), str)]
    if unknown:
        raise DatasetError(
            f"expected a build.json in {folder / unknown[0]} that names its task; remove that folder and build it again"
        )
    tasks = {variant.manifest["task"] for variant in variants}
    if len(tasks) > 1:
        raise UsageError(f"expected variants of one task in {folder}, found {', '.join(sorted(tasks))}")
    return find_task(*tasks)


def _require_alone(config: list[str] | None, build_options: list[str], dry_run: bool) -> None:
    if config:
        raise UsageError("--config: it names built variants; --from-variant builds its own")
    for word in build_options:
        if dry_run and word.partition("=")[0] == "--model":
            raise UsageError(
                "--dry-run: a model would be asked, and paid; synthctx build --estimate says what it would cost"
            )
        if word.partition("=")[0] in ("--output", "--ray", "--estimate"):
            raise UsageError(
                f"{word}: it is not read with --from-variant; FOLDER says where shards lie until they are sent"
            )


def _push_folder(publication: "Publication", folder: Path, configs: list[str], force: bool) -> None:
    """Sends the variants of a folder, after all that would be sent were found without fault."""
    from builders.checking import examine, expected
    from builders.folder import find_variants

    mine = _card(folder)
    offers = [(variant, _offer(publication, mine, variant)) for variant in find_variants(str(folder), configs)]
    for variant, offer in offers:
        if publication.has_rows(offer):
            continue
        with progress_bar(f"checking {variant.name}", variant.count()) as progress:
            examined = examine(variant, expected(variant.manifest), progress)
        _require_same_rows(variant, mine, examined)
        _require_sound(variant.name, examined, force)
        publication.faults[variant.name] = examined.faults
    for _, offer in offers:
        _say(publication, publication.send(offer))


def _card(folder: Path) -> "Card":
    from builders.card import CARD, read_card

    path = folder / CARD
    if not path.exists():
        raise DatasetError(
            f"expected a card {path}; synthctx build writes it when it is called again with the same options"
        )
    return read_card(path.read_bytes(), str(path))


def _offer(publication: "Publication", mine: "Card", variant: "Variant") -> "Offer":
    from builders.card import CARD, merge
    from builders.publish import Offer, is_ours

    variant.require_complete()
    mine.part(variant.name)  # which says what is missing
    _require_described(variant, mine)
    here = {f"{variant.name}/{file.name}": file for file in sorted(variant.folder.iterdir()) if is_ours(file.name)}

    def card(theirs: "Card | None") -> "Card":
        if theirs and theirs.changed and mine.edited and theirs.prose != mine.prose:
            publication.notes[
                f"{CARD} was edited on the Hub, and that text stays; the one that was edited here was not sent: "
                "put into it what shall stay, and the whole into the card on the Hub"
            ] = None
        faults = publication.faults.get(variant.name, "")
        return merge(publication.task, publication.repository.name, theirs, mine, variant.name, faults)

    return Offer(variant.name, variant.manifest, here, card)


def _require_described(variant: "Variant", card: "Card") -> None:
    """Raises: DatasetError if the card does not speak of what build.json does."""
    if f"`{variant.manifest['fingerprint']}`" not in card.blocks.get(variant.name, ""):
        raise DatasetError(
            f"expected the card beside {variant.folder} to say how it was built, between the comments that synthctx wrote; "
            "remove the card, and call synthctx build again with the same options, which writes another"
        )


def _require_same_rows(variant: "Variant", card: "Card", examined: "Examined") -> None:
    """Raises: DatasetError if the rows are not those that the card tells the hashes of."""
    for split, survey in examined.survey.splits.items():
        if f"`{survey.hash}`" not in card.blocks[variant.name]:
            raise DatasetError(
                f"the {split} rows of {variant.folder} are not those that were built: their SHA-256 begins {survey.hash}, "
                "and the card tells another; remove the folder and build it again"
            )


def _relay(publication: "Publication", force: bool, task: "Task", build: "Build", workers: int) -> None:
    """Builds a variant and sends it shard by shard."""
    from builders.relay import Relay

    relay = Relay(task, build, publication.repository)
    rows = sum(task.sizes(build.options).values())
    if relay.is_done(publication):
        relay.clear()
        out.print(f"{build.variant}: unchanged")
        return
    if publication.dry_run:
        _say(publication, publication.would_send(relay.manifest))
        return
    with progress_bar(f"{task.name} {build.variant}", rows) as progress:
        examined = relay.gather(publication.private, workers, progress)
    _require_sound(build.variant, examined, force)
    _say(publication, publication.send(relay.offer(examined)))
    relay.clear()


def _require_sound(name: str, examined: "Examined", force: bool) -> None:
    from builders.views import report

    if examined.report.ok:
        return
    out.print(report(name, examined))
    if not force:
        raise DatasetError(
            f"{name} has faults, and nothing of it was published; build it anew, or push it as it is with --force"
        )


def _say(publication: "Publication", sent: "Sent") -> None:
    size = f"; {sent.files} file{'s' if sent.files > 1 else ''}, {sent.size / 1e6:,.2f} MB" if sent.files else ""
    would = "would be " if publication.dry_run and sent.what != "unchanged" else ""
    with suppress(SystemExit):  # of rich, where nobody reads any more: a push does not stop half way for that
        out.print(f"{sent.variant}: {would}{sent.what}{size}", soft_wrap=True)


def _say_version(publication: "Publication", version: str | None) -> None:
    repository = publication.repository
    would = "would be" if publication.dry_run else "is"
    if version is None and repository.branch == "main":
        return  # nothing was asked for, but --help perhaps
    state = f"{would} {version}" if version else f"on branch {repository.branch} has no version"
    out.print(f"{repository.name} {state}:  {repository.url}", soft_wrap=True)
    for note in publication.notes:
        err.print(f"synthctx: note: {note}", soft_wrap=True)
