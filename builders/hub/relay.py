"""The relay, which builds a variant and pushes it shard by shard, so that the disk need not hold all of it.

Shards go, a few at a time, to a side branch, whose name says what they are built from. When all are there, one commit copies
them to their place, and the side branch is deleted. So a push that was interrupted finds the finished shards on that branch.
"""

from collections.abc import Sequence

import pyarrow.parquet as pq

from builders.build import build_in_parts, manifest_of
from builders.hub.card import CARD, Card, Footer, make_part, with_faults, with_part
from builders.hub.card_picture import PLOT
from builders.hub.card_section import describe_variant
from builders.hub.publish import Offer, Publication, persist
from builders.hub.repository import Change, Content, Repository, State
from builders.shards import Build, Progress, Shard
from builders.writing.store import ANSWERS
from synthctx_data.dataset import Piece, file_rows, pieces_in
from synthctx_data.errors import HubError
from synthctx_data.examine import Examined, Examiner, expected, worth
from synthctx_data.files import Place
from synthctx_data.manifest import MANIFEST
from synthctx_data.places import opened, remove_folder
from synthctx_data.task import Task


class Relay:
    """A variant on its way into a repository, while it is built."""

    def __init__(self, task: Task, build: Build, repository: Repository) -> None:
        self.manifest = manifest_of(build)
        self._task = task
        self._build = build
        self._name = f"build-{build.variant}-{self.manifest['fingerprint']}-{build.shards or 'auto'}"
        self._side = Repository(repository.name, self._name)
        self._footers: dict[str, list[Footer]] = {}

    def is_done(self, publication: Publication) -> bool:
        """True if the repository has a card and every shard of the variant, built from the same configuration."""
        state = publication.repository.state()
        if (
            state is None
            or publication.manifest(self._build.variant).get("fingerprint") != self.manifest["fingerprint"]
        ):
            return False
        shards = {f"{self._build.variant}/{name}" for name in (shard.name for shard in self._build.planned)}
        there = {path for path in state.under(self._build.variant) if path.endswith(".parquet")}
        return shards == there and CARD in state.files

    def gather(self, private: bool, workers: int, ray: str | None, progress: Progress) -> Examined:
        """The findings in all rows of the variant. Shards that the side branch lacks are built and sent there.

        Raises: HubError if the Hub refuses or cannot be reached; the errors of a build.
        """
        self._side.create(private)
        done = {path.rpartition("/")[2] for path in self._state().under(self._name)}
        tokens = sum(shard.rows for shard in self._build.planned) * self._build.options.max_tokens
        with Examiner(expected(self.manifest), worth(tokens, workers)) as examiner:
            for part in build_in_parts(self._build, done, workers, ray):
                if part[0].name in done:  # the shards of a part are all done, or none is
                    for shard in part:
                        self._examine_there(shard, examiner, progress)
                else:
                    examiner.add_pieces([piece for shard in part for piece in self._pieces(shard)], progress)
                    self._bring(part)
            return examiner.done()

    def offer(self, examined: Examined) -> Offer:
        """The offer of the variant, whose shards are on the side branch."""
        folder, variant = self._build.staging, self._build.variant
        block = describe_variant(self._task, self._build, examined.survey, self._side.name, folder)
        part = with_faults(make_part(variant, self._footers, block), examined.faults)

        def card(theirs: Card | None) -> Card:
            return with_part(self._task, self._side.name, theirs, part)

        here = {f"{variant}/{file.name}": file for file in folder.iterdir() if file.name in (MANIFEST, ANSWERS, PLOT)}
        return Offer(
            variant, self.manifest, here, card, dict(map(self._place, self._state().under(self._name).items()))
        )

    def clear(self) -> None:
        """Removes the side branch and the staging folder, if they are there."""
        if self._side.find(self._name) is not None:
            self._side.drop_branch()
        remove_folder(self._build.staging)

    def _place(self, file: tuple[str, Content]) -> tuple[str, tuple[str, str, Content]]:
        path, content = file
        return f"{self._build.variant}/{path.rpartition('/')[2]}", (path, self._name, content)

    def _state(self) -> State:
        state = self._side.state()
        if state is None:
            raise HubError(
                f"{self._side.name}: the branch {self._name} is gone; another push of the same has finished, perhaps: call again"
            )
        return state

    def _pieces(self, shard: Shard) -> list[Piece]:
        """The pieces of a shard in the staging folder."""
        file = self._build.staging / shard.name
        with opened(file) as parquet:
            metadata = parquet.metadata
        self._note(shard, metadata, file.stat().st_size)
        return pieces_in(shard.split, shard.start, file, metadata)

    def _examine_there(self, shard: Shard, examiner: Examiner, progress: Progress) -> None:
        """Examines a shard on the side branch."""
        state, there = self._state(), f"{self._name}/{shard.name}"
        with self._side.open(there, state.sha) as remote, pq.ParquetFile(remote) as parquet:
            if parquet.metadata.num_rows != shard.rows:
                raise HubError(
                    f"{self._side.name}: expected {shard.rows} rows in {shard.name} on the branch {self._name}, "
                    f"found {parquet.metadata.num_rows}; delete that branch, and call again"
                )
            examiner.add(((shard.split, row) for row in file_rows(parquet, shard.name)), progress)
            self._note(shard, parquet.metadata, state.files[there].size)

    def _note(self, shard: Shard, metadata: pq.FileMetaData, size: int) -> None:
        self._footers.setdefault(shard.split, []).append(Footer.of(metadata, size))

    def _bring(self, shards: Sequence[Shard]) -> None:
        files = {f"{self._name}/{shard.name}": self._build.staging / shard.name for shard in shards}

        def send() -> None:
            state = self._state()
            missing: dict[str, Place | bytes] = {path: file for path, file in files.items() if path not in state.files}
            if missing:
                self._side.commit(state.sha, Change(f"{len(missing)} shards of {self._build.variant}", missing))

        persist(self._side, send)
        for file in files.values():
            file.unlink()
