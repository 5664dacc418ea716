"""Put configs on a Hub: each in one commit, on top of what is there by then; and then a version for them all.

What is to be done is found out from the repository anew at every attempt. So a push that was interrupted, outrun by another, or repeated
does what is left to do, and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from builders.hub.card import CARD, Card, finish, read_card
from builders.hub.card_picture import PLOT
from builders.hub.repository import MAIN, Change, Content, OutrunError, Repository, State
from builders.hub.versions import Difference, changelog, differences, following, latest
from builders.writing.store import ANSWERS
from synthctx_data.errors import ConflictError, HubError
from synthctx_data.manifest import MANIFEST, Manifest, parse_manifest
from synthctx_data.retry import retry
from synthctx_data.task import Task

T = TypeVar("T")

CHANGELOG = "CHANGELOG.md"
_SAME_ROWS = "sent anew, with the same rows"  # files of an unchanged manifest that are missing, or not the same
_AS_IS = "surrogateescape"  # what others wrote in another encoding stays as it is
_WAITS = tuple(0.2 * 2**attempt for attempt in range(8))  # seconds between attempts: 51 in all


@dataclass(frozen=True)
class Offer:
    """A config as it is to be on the Hub.

    here: its files by their path in the repository.
    there: those that another branch has already, with their path there, that branch, and their content.
    card: makes the repository's card (None: there is none) say what there is to say of it.
    """

    variant: str
    manifest: Manifest
    here: Mapping[str, Path]
    card: Callable[[Card | None], Card]
    there: Mapping[str, tuple[str, str, Content]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sent:
    """What became of a config: in words, and the files and bytes that were (or would be) sent."""

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
        self.faults: dict[str, str] = {}  # of configs that are sent in spite of them, in words
        self.notes: dict[str, None] = {}  # for the user, in their order
        self._planned: dict[str, Manifest] = {}  # in a dry run, what would be there by now
        self._planned_card: bytes | None = None

    def manifest(self, variant: str) -> Manifest:
        """What the repository's config of this name was built from; empty if there is none."""
        return self._manifests(self.repository.state()).get(variant, {})

    def has_rows(self, offer: Offer) -> bool:
        """Whether the repository has the config's files, but perhaps another card."""
        state = self.repository.state()
        change = self._plan(state, offer) if state else None
        return state is not None and (change is None or _describes(change))

    def send(self, offer: Offer) -> Sent:
        """Makes the repository have the config, unless it does.

        Raises: HubError if the Hub refuses or cannot be reached.
        """
        if self.dry_run:
            return self._would_send(offer)
        return persist(self.repository, lambda: self._send(offer))

    def finish(self) -> str | None:
        """The version that the repository has now, tagged, with its changes in CHANGELOG.md; None on another branch than main.

        In a dry run: the version that it would have.
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
        """What would become of a config that is not built yet."""
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
        """What makes this state have the config; None if it has it."""
        old = state.under(offer.variant)
        add: dict[str, Path | bytes] = {
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
            add = {}  # a picture of the same rows, drawn by another version of a library
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
        """What each config of a state was built from."""
        paths = [
            path for path in (state.files if state else ()) if path.count("/") == 1 and path.endswith(f"/{MANIFEST}")
        ]
        found = {path.split("/")[0]: parse_manifest(self.repository.read(path, state.sha)) for path in paths if state}
        return {folder: manifest for folder, manifest in found.items() if manifest.get("variant") == folder}

    def _version(self, state: State | None, planned: Mapping[str, Manifest]) -> tuple[str | None, list[Difference]]:
        """The version of a state with what is planned besides, and what changed since the last one (nothing: it is that one)."""
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
    """Whether a file of this name in a config's folder is part of the config, and not something else that somebody put there."""
    return name.endswith(".parquet") or name in (MANIFEST, ANSWERS, PLOT)


def persist(repository: Repository, step: Callable[[], T]) -> T:
    """What the step comes to, which looks at the repository anew each time that it was outrun; with longer and longer waits.

    Raises: HubError if that was in vain.
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
    """Whether a change is one of the card alone."""
    return not change.copy and not change.delete and list(change.add) == [CARD]


def _only(manifests: Mapping[str, Manifest], variant: str) -> dict[str, Manifest]:
    return {variant: manifests[variant]} if variant in manifests else {}
