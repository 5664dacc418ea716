"""Publication of configs on a Hub: one commit for each, on top of what is there by then, and then a version for them all.

Every attempt looks at the repository anew, and does what is left to do. So a push may be interrupted, outrun by another push,
or repeated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from builders.hub.card import CARD, Card, finish, read_card
from builders.hub.card_picture import PLOT
from builders.hub.repository import MAIN, Change, Content, OutrunError, Repository, State
from builders.hub.versions import Difference, changelog, differences, following, latest
from builders.writing.store import ANSWERS
from synthctx_data.errors import ConflictError, HubError
from synthctx_data.files import Place
from synthctx_data.manifest import MANIFEST, Manifest, parse_manifest
from synthctx_data.retry import retry
from synthctx_data.task import Task

T = TypeVar("T")

CHANGELOG = "CHANGELOG.md"
_SAME_ROWS = "sent anew, with the same rows"  # the manifest is the same, but files are missing or differ
_AS_IS = "surrogateescape"  # what others wrote in another encoding stays as it is
_WAITS = tuple(0.2 * 2**attempt for attempt in range(8))  # seconds between attempts: 51 in all


@dataclass(frozen=True)
class Offer:
    """A config as it is to be on the Hub.

    here: its local files, by their path in the repository.
    there: its files that another branch has already, by their path: their path there, that branch, and their content.
    card: a function from the repository's card (None if there is none) to a card that describes the config.
    """

    variant: str
    manifest: Manifest
    here: Mapping[str, Place]
    card: Callable[[Card | None], Card]
    there: Mapping[str, tuple[str, str, Content]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """The outcome for a config: in words, and as the number of files and bytes that were (or would be) sent."""

    variant: str
    what: str
    files: int = 0
    size: int = 0


class Publication:
    """A task's configs on their way into a repository."""

    def __init__(self, task: Task, repository: Repository, private: bool = False, dry_run: bool = False) -> None:
        self.task = task
        self.repository = repository
        self.private = private
        self.dry_run = dry_run
        self.faults: dict[str, str] = {}  # in words, by the config that is sent in spite of them
        self.notes: dict[str, None] = {}  # for the user, in their order
        self._planned: dict[str, Manifest] = {}  # in a dry run, the manifests that would be there by now
        self._planned_card: bytes | None = None

    def manifest(self, variant: str) -> Manifest:
        """The manifest of the repository's config of this name; empty if there is none."""
        return self._manifests(self.repository.state()).get(variant, {})

    def has_rows(self, offer: Offer) -> bool:
        """True if the repository has the files of the config, even if its card is another."""
        state = self.repository.state()
        change = self._plan(state, offer) if state else None
        return state is not None and (change is None or _describes(change))

    def send(self, offer: Offer) -> Sent:
        """The outcome of sending a config. Nothing is sent if the repository has it already.

        Raises: HubError if the Hub refuses or cannot be reached.
        """
        if self.dry_run:
            return self._would_send(offer)
        return persist(self.repository, lambda: self._send(offer))

    def finish(self) -> str | None:
        """The version that the repository has now; None on a branch other than main.

        A new version is tagged, and its changes are added to CHANGELOG.md. In a dry run, it is the version that would be there.
        """
        if self.repository.branch != MAIN:
            return None
        if self.dry_run:
            return self._version(self.repository.state(), self._planned)[0]
        return persist(self.repository, self._finish)

    def _send(self, offer: Offer) -> Sent:
        state = self._state()
        change = self._plan(state, offer)
        if change is None:
            return Sent(offer.variant, "unchanged")
        self.repository.commit(state.sha, change)
        return _sent(offer, change)

    def _finish(self) -> str | None:
        state = self.repository.state()
        tag, changes = self._version(state, {})
        if state is not None and tag is not None and changes:
            self._tag(state, tag, changes)
        return tag

    def _state(self) -> State:
        state = self.repository.state()
        if state is None:
            self.repository.create(self.private)
            if self.private:
                self.repository.require_private()
            state = self.repository.state()
        if state is None:
            raise HubError(f"{self.repository.name} was made, and is not there; call again")
        return state

    def would_send(self, manifest: Manifest) -> Sent:
        """The outcome, in a dry run, of sending a config that is not built yet."""
        variant = manifest["variant"]
        self._planned[variant] = manifest
        changes = differences(_only(self._manifests(self.repository.state()), variant), {variant: manifest})
        return Sent(variant, changes[0].what if changes else _SAME_ROWS)

    def _would_send(self, offer: Offer) -> Sent:
        self._planned[offer.variant] = offer.manifest
        change = self._plan(self.repository.state() or State("", {}), offer)
        if change is None:
            return Sent(offer.variant, "unchanged")
        card = change.add.get(CARD)
        self._planned_card = card if isinstance(card, bytes) else self._planned_card
        return _sent(offer, change)

    def _plan(self, state: State, offer: Offer) -> Change | None:
        """The change that brings the config into this state; None if the state has it already."""
        old = state.under(offer.variant)
        add: dict[str, Place | bytes] = {
            path: file for path, file in offer.here.items() if path not in old or not old[path].is_of(file)
        }
        copy = {
            path: (source, branch)
            for path, (source, branch, content) in offer.there.items()
            if old.get(path) != content
        }
        delete = [
            path
            for path in old
            if is_ours(path.rpartition("/")[2]) and path not in offer.here and path not in offer.there
        ]
        if all(path.endswith(f"/{PLOT}") for path in [*add, *copy, *delete]):
            add = {}  # only the picture differs: another version of a library drew the same rows
        before = self._manifests(state)
        self._require_task(before)
        theirs = self._planned_card or (self.repository.read(CARD, state.sha) if CARD in state.files else None)
        there = {*self._planned, offer.variant, *(path.split("/")[0] for path in state.files if "/" in path)}
        manifests = {**before, **self._planned, offer.variant: offer.manifest}
        card = str(finish(self.task, self._card(theirs, offer), there, manifests)).encode()
        if card != theirs:
            add[CARD] = card
        if not (add or copy or delete):
            return None
        changed = differences(_only(before, offer.variant), {offer.variant: offer.manifest})
        change = Change("", add, copy, delete)
        what = changed[0].what if changed else "described anew" if _describes(change) else _SAME_ROWS
        return replace(change, message=f"{offer.variant}: {what}")

    def _card(self, theirs: bytes | None, offer: Offer) -> Card:
        card = offer.card(read_card(theirs, f"{self.repository.name}/{CARD}") if theirs else None)
        if offer.variant not in card.blocks:
            self.notes[
                f"{CARD}: somebody took out the comments between which synthctx writes of configs, so it says nothing of {offer.variant} "
                "but in its YAML; put them back, or remove the card, and push again"
            ] = None
        return card

    def _require_task(self, manifests: Mapping[str, Manifest]) -> None:
        for variant, manifest in manifests.items():
            if manifest.get("task", self.task.name) != self.task.name:
                raise ConflictError(
                    f"{self.repository.name} holds {variant} of {manifest['task']}, and one repository is for one task; "
                    f"choose another --repo for {self.task.name}"
                )

    def _manifests(self, state: State | None) -> dict[str, Manifest]:
        """The manifest of each config of a state."""
        paths = [
            path for path in (state.files if state else ()) if path.count("/") == 1 and path.endswith(f"/{MANIFEST}")
        ]
        found = {path.split("/")[0]: parse_manifest(self.repository.read(path, state.sha)) for path in paths if state}
        return {folder: manifest for folder, manifest in found.items() if manifest.get("variant") == folder}

    def _version(self, state: State | None, planned: Mapping[str, Manifest]) -> tuple[str | None, list[Difference]]:
        """The version of a state with the planned configs, and the changes since the last version (without any, it is that)."""
        tags = self.repository.tags() if state else {}
        last = latest(tags)
        before = self._manifests(self.repository.state_at(tags[last])) if last else {}
        changes = differences(before, {**self._manifests(state), **planned})
        return (following(last, changes) if changes else last), changes

    def _tag(self, state: State, tag: str, changes: list[Difference]) -> None:
        text = self.repository.read(CHANGELOG, state.sha).decode(errors=_AS_IS) if CHANGELOG in state.files else ""
        new = changelog(text, self.repository.tags(), tag, changes)
        sha = state.sha
        if new != text:
            sha = self.repository.commit(state.sha, Change(f"Version {tag}", {CHANGELOG: new.encode(errors=_AS_IS)}))
        self.repository.tag(tag, sha, "\n".join(map(str, changes)))


def is_ours(name: str) -> bool:
    """True if a file of this name in a config's folder is part of the config, and not something that somebody else put there."""
    return name.endswith(".parquet") or name in (MANIFEST, ANSWERS, PLOT)


def persist(repository: Repository, step: Callable[[], T]) -> T:
    """The result of a step, which is repeated, after longer and longer waits, as long as other pushes outrun it.

    Raises: HubError if the last attempt was outrun too.
    """
    try:
        return retry(step, _WAITS, lambda error: isinstance(error, OutrunError))
    except OutrunError as error:
        raise HubError(
            f"{repository.name}: the last of {len(_WAITS) + 1} attempts failed, or was outrun by another push ({error}); "
            "call again later: what was sent is not sent again"
        ) from error


def _sent(offer: Offer, change: Change) -> Sent:
    sizes = [len(source) if isinstance(source, bytes) else source.stat().st_size for source in change.add.values()]
    sizes += [offer.there[path][2].size for path in change.copy]
    return Sent(offer.variant, change.message.partition(": ")[2], len(sizes), sum(sizes))


def _describes(change: Change) -> bool:
    """True if a change is one of the card alone."""
    return not change.copy and not change.delete and list(change.add) == [CARD]


def _only(manifests: Mapping[str, Manifest], variant: str) -> dict[str, Manifest]:
    return {variant: manifests[variant]} if variant in manifests else {}
