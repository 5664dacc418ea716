"""synthctx push: sends a built folder, or a variant that is built on the way, to a Hub."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from huggingface_hub.utils.tqdm import disable_progress_bars

from builders import find_task
from builders.build import alone
from builders.commands.build import say_notes, write_answers
from builders.commands.tables import report
from builders.hub.built_folder import folder_card, offer_of, require_same_rows, task_of
from builders.hub.publish import Publication, Sent
from builders.hub.relay import Relay
from builders.hub.repository import MAIN, Repository
from builders.planned_build import PlannedBuild, RunOptions, plan_builds, require_use, require_whole_corpus
from builders.writing.options import WritingOptions
from synthctx_data.command import OptionsFile, err, out, processes, progress_bar
from synthctx_data.dataset import Address, find_variants, parse_address
from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.examine import Examined, examine, expected
from synthctx_data.files import Place
from synthctx_data.option_model import OptionModel, flag, panel
from synthctx_data.options import Options
from synthctx_data.places import is_remote, reached

_PANEL = panel("What to push, and where to", 0)
_NOT_READ = ("output", "part", "estimate")  # options of a build that --from-variant has no use for


class PushOptions(OptionModel):
    """The options of `synthctx push`, beside those of a build."""

    repo: Annotated[str | None, _PANEL] = None
    """The repository, OWNER/NAME. Default: synthctx/TASK."""
    variant: Annotated[tuple[str, ...], Parameter(show_default=False), _PANEL] = ()
    """A variant to push. Can be given several times. Default: all of the folder."""
    branch: Annotated[str, Parameter(name=["--branch", "--revision"]), _PANEL] = MAIN
    """The branch to push to (--revision is its former name). It is made if it is missing. Only main has versions."""
    private: Annotated[bool, _PANEL] = False
    """Make the repository private, if it is made now."""
    dry_run: Annotated[bool, _PANEL] = False
    """Say what would be sent, and send nothing."""
    force: Annotated[bool, _PANEL] = False
    """Push variants in which synthctx check finds faults. Their card lists the faults."""
    from_variant: Annotated[str | None, _PANEL] = None
    """Build this variant and push it shard by shard, for sets that are larger than the disk. Takes the options of a
    build."""


def push(
    place: Annotated[
        str,
        Parameter(help="FOLDER or FOLDER:VARIANT, here or in a store such as S3; with --from-variant OUTPUT/TASK."),
    ],
    /,
    *,
    push: Annotated[PushOptions, Parameter(name="*")] = PushOptions(),
    options: Annotated[Options, Parameter(name="*")] = Options(),
    writing: Annotated[WritingOptions, Parameter(name="*")] = WritingOptions(),
    where: Annotated[RunOptions, Parameter(name="*")] = RunOptions(),
    config: OptionsFile = None,
) -> None:
    """Puts variants on a Hub."""
    if not err.is_terminal:
        disable_progress_bars()
    address = parse_address(place)
    folder = _folder(address, push)
    task = task_of(folder) if push.from_variant is None else find_task(folder.name)
    repository = Repository(push.repo if push.repo is not None else f"synthctx/{task.name}", push.branch)
    publication = Publication(task, repository, push.private, push.dry_run)
    try:
        repository.require_branch()
        if push.private:
            repository.require_private()
        if push.from_variant is None:
            _require_no_build(options, writing, where)
            names = [*push.variant, *([address.variant] if address.variant else [])]
            with reached(folder):
                _push_folder(publication, folder, names, push.force)
        else:
            _require_alone(push, address, options, where)
            built_into = where.model_copy(update={"output": str(folder.parent)})
            (planned,) = plan_builds(task, [push.from_variant], options, built_into)
            require_use([planned], writing, options.store is not None)
            if where.strict:
                require_whole_corpus([planned])
            with alone(planned.build):
                if planned.is_to_be_written:
                    write_answers(planned, writing, writing.spending(str(options.model)))
                _relay(publication, planned, where, push.force)
            say_notes(planned)
        version = publication.finish()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on from there, and sends nothing twice") from None
    _say_version(publication, version)


def _folder(address: Address, push: PushOptions) -> Place:
    if not is_remote(address.place):
        return Path(os.path.abspath(address.place))  # noqa: PTH100  # a link keeps its name
    if push.from_variant is not None:
        raise UsageError(
            f"--from-variant: expected a folder of this machine, where shards lie until they are sent, got {address.place}; or build there "
            "and push without --from-variant"
        )
    return address.folder


def _require_no_build(*given: OptionModel) -> None:
    for options in given:
        for name in options.changed():
            raise UsageError(f"{flag(name)}: it is an option of a build, and is read with --from-variant only")


def _require_alone(push: PushOptions, address: Address, options: Options, where: RunOptions) -> None:
    if push.variant or address.variant:
        raise UsageError("--variant: it names built variants; --from-variant builds its own")
    if push.dry_run and options.model is not None:
        raise UsageError(
            "--dry-run: a model would be asked, and paid; synthctx build --estimate says what it would cost"
        )
    for name in where.changed():
        if name in _NOT_READ:
            raise UsageError(
                f"{flag(name)}: it is not read with --from-variant; FOLDER says where shards lie until they are sent"
            )


def _push_folder(publication: Publication, folder: Place, names: list[str], force: bool) -> None:
    """Sends the variants of a folder, once all that need sending were checked."""
    mine = folder_card(folder)
    found = find_variants(Address(str(folder)), names)
    offers = [(variant, offer_of(publication, mine, variant)) for variant in found]
    for variant, offer in offers:
        if publication.has_rows(offer):
            continue
        with progress_bar(f"checking {variant.name}", variant.count()) as progress:
            examined = examine(variant, expected(variant.manifest), progress, processes(None))
        require_same_rows(variant, mine, examined)
        _require_sound(variant.name, examined, force)
        publication.faults[variant.name] = examined.faults
    for _, offer in offers:
        _say(publication, publication.send(offer))


def _relay(publication: Publication, planned: PlannedBuild, where: RunOptions, force: bool) -> None:
    """Builds a variant and sends it shard by shard."""
    variant = planned.build.variant
    relay = Relay(planned.task, planned.build, publication.repository)
    if relay.is_done(publication):
        relay.clear()
        out.print(f"{variant}: unchanged")
        return
    if publication.dry_run:
        _say(publication, publication.would_send(relay.manifest))
        return
    with progress_bar(planned.name, planned.rows) as progress:
        examined = relay.gather(publication.private, where.processes, where.ray, progress)
    _require_sound(variant, examined, force)
    _say(publication, publication.send(relay.offer(examined)))
    relay.clear()


def _require_sound(name: str, examined: Examined, force: bool) -> None:
    if examined.report.ok:
        return
    out.print(report(name, examined))
    if not force:
        raise DatasetError(
            f"{name} has faults, and nothing of it was published; build it anew, or push it as it is with --force"
        )


def _say(publication: Publication, sent: Sent) -> None:
    files = "1 file" if sent.files == 1 else f"{sent.files} files"
    size = f"; {files}, {sent.size / 1e6:,.2f} MB" if sent.files else ""
    would = "would be " if publication.dry_run and sent.what != "unchanged" else ""
    with suppress(SystemExit):  # rich raises it if nobody reads any more; a push does not stop half way for that
        out.print(f"{sent.variant}: {would}{sent.what}{size}", soft_wrap=True)


def _say_version(publication: Publication, version: str | None) -> None:
    repository = publication.repository
    would = "would be" if publication.dry_run else "is"
    state = f"{would} {version}" if version else f"on branch {repository.branch} has no version"
    out.print(f"{repository.name} {state}:  {repository.url}", soft_wrap=True)
    for note in publication.notes:
        err.print(f"synthctx: note: {note}", soft_wrap=True)
