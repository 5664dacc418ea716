"""A repository of data sets on a Hub, to read and to change. Its errors are those of synthctx, without any token in them."""

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from httpx2 import HTTPError
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    get_token,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from synthctx_data.errors import HubError, UsageError, first_line
from synthctx_data.files import Place
from synthctx_data.hub import has_form_of_hub_id
from synthctx_data.retry import retry
from synthctx_data.shown import hidden, keep_secret

T = TypeVar("T")

MAIN = "main"
_BRANCH = re.compile(r"[\w./-]+")
_KIND = "dataset"
_OUTRUN = (409, 412)  # status codes: somebody else has committed since
_PASSING = (408, 429, 500, 502, 503, 504)
_WAITS = (0.3, 1.0, 3.0)  # seconds before another attempt to read


class OutrunError(Exception):
    """A failed change: the repository has changed since it was planned, or nobody knows whether the change arrived."""


@dataclass(frozen=True)
class State:
    """A branch at one commit: the identity of every file's content, by the file's path."""

    sha: str
    files: Mapping[str, "Content"]

    def under(self, folder: str) -> dict[str, "Content"]:
        """The files of a folder, by their path."""
        return {path: content for path, content in self.files.items() if path.startswith(f"{folder}/")}


@dataclass(frozen=True)
class Content:
    """The identity of a file's content: its size in bytes, the SHA-256 of a large file, and git's hash of a small one."""

    size: int
    sha256: str | None
    blob: str

    def is_of(self, source: Place | bytes) -> bool:
        """True if a file, or these bytes, have the same content."""
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size != self.size:
            return False
        if self.sha256 is None:
            data = source if isinstance(source, bytes) else source.read_bytes()
            return hashlib.sha1(b"blob %d\0" % size + data).hexdigest() == self.blob
        return (hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else _file_hash(source)) == self.sha256


@dataclass(frozen=True)
class Change:
    """One commit: files to add (their places, or their bytes), to copy (from a path at a revision), and to delete."""

    message: str
    add: Mapping[str, Place | bytes] = field(default_factory=dict)
    copy: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    delete: Sequence[str] = ()


class Repository:
    """A branch of a repository, reached with the token of `hf auth login` or HF_TOKEN.

    Raises: from every method, HubError if the Hub refuses or cannot be reached; UsageError for a name that cannot be one.
    """

    def __init__(self, name: str, branch: str = MAIN) -> None:
        if name.count("/") != 1 or not has_form_of_hub_id(name):
            raise UsageError(f"--repo: expected OWNER/NAME, got {name!r}")
        if not _BRANCH.fullmatch(branch):
            raise UsageError(f"--branch: expected the name of a branch, got {branch!r}")
        self.name = name
        self.branch = branch
        self._api = HfApi()
        keep_secret(get_token() or "")

    @property
    def url(self) -> str:
        """The address of the repository's page on the Hub."""
        return f"{self._api.endpoint}/datasets/{self.name}"

    def state(self) -> State | None:
        """The branch as it is; None if there is no such repository, or no such branch."""
        sha = self.find(self.branch)
        return self.state_at(sha) if sha else None

    def find(self, revision: str) -> str | None:
        """The commit of a branch or a tag; None if there is no such revision or repository."""

        def look() -> str | None:
            try:
                return self._api.dataset_info(self.name, revision=revision).sha
            except (RepositoryNotFoundError, RevisionNotFoundError):
                return None

        return self._patiently(look)

    @lru_cache(maxsize=8)  # noqa: B019  # a commit does not change, and a repository lives as long as a push
    def state_at(self, sha: str) -> State:
        """The state at a commit."""
        entries = self._patiently(
            lambda: list(self._api.list_repo_tree(self.name, recursive=True, revision=sha, repo_type=_KIND))
        )
        files = [entry for entry in entries if isinstance(entry, RepoFile)]
        return State(sha, {f.path: Content(f.size, f.lfs.sha256 if f.lfs else None, f.blob_id) for f in files})

    @lru_cache(maxsize=256)  # noqa: B019
    def read(self, path: str, sha: str) -> bytes:
        """The content of a small file at a commit."""

        def read() -> bytes:
            with self.open(path, sha) as file:
                return file.read()

        return self._patiently(read)

    @contextmanager
    def open(self, path: str, sha: str) -> Iterator[BinaryIO]:
        """A file at a commit, opened for reading. Only those parts that are read are fetched."""
        with self._errors():
            files = HfFileSystem(endpoint=self._api.endpoint, skip_instance_cache=True)
            with files.open(f"datasets/{self.name}@{sha}/{path}", "rb") as file:
                yield cast(BinaryIO, file)

    def create(self, private: bool) -> None:
        """Makes the repository and the branch, if they are not there."""

        def make() -> None:
            self._api.create_repo(self.name, private=private or None, exist_ok=True, repo_type=_KIND)
            if self.branch != MAIN:
                self._api.create_branch(self.name, branch=self.branch, exist_ok=True, repo_type=_KIND)

        self._patiently(make)

    def require_branch(self) -> None:
        """Raises: UsageError if the name of the branch is the name of a tag, to which nothing can be pushed."""
        if self.branch != MAIN and self.find(self.branch) and self.branch in self.tags():
            raise UsageError(f"--branch: {self.branch} is a tag of {self.name}; push to a branch")

    def require_private(self) -> None:
        """Raises: UsageError if the repository is there already and is public."""
        if self.find(MAIN) and not self._patiently(lambda: self._api.dataset_info(self.name).private):
            raise UsageError(
                f"--private: {self.name} is there already, and public; make it private in its settings, or choose another --repo"
            )

    def commit(self, parent: str, change: Change) -> str:
        """The hash of the new commit, which makes the whole change on top of the commit `parent`.

        Raises: OutrunError if `parent` is no longer the newest commit, or if nobody knows whether the change arrived.
        """
        operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
            *(CommitOperationAdd(path, _readable(source)) for path, source in change.add.items()),
            *(CommitOperationCopy(old, path, src_revision=revision) for path, (old, revision) in change.copy.items()),
            *(CommitOperationDelete(path) for path in change.delete),
        ]
        with self._errors(conflicts=True):
            made = self._api.create_commit(
                self.name,
                operations,
                commit_message=change.message,
                parent_commit=parent,
                revision=self.branch,
                repo_type=_KIND,
            )
        return made.oid

    def tags(self) -> dict[str, str]:
        """The commit of each tag, by the tag's name."""
        refs = self._patiently(lambda: self._api.list_repo_refs(self.name, repo_type=_KIND))
        return {tag.name: tag.target_commit for tag in refs.tags}

    def tag(self, name: str, sha: str, message: str) -> None:
        """Tags a commit.

        Raises: OutrunError if there is such a tag by now, or if nobody knows whether it was made.
        """
        with self._errors(conflicts=True):
            self._api.create_tag(self.name, tag=name, revision=sha, tag_message=message, repo_type=_KIND)

    def drop_branch(self) -> None:
        """Deletes the branch. Commits that no other branch has are lost."""
        self._patiently(lambda: self._api.delete_branch(self.name, branch=self.branch, repo_type=_KIND))

    def _patiently(self, call: Callable[[], T]) -> T:
        """The result of a call, which is repeated if the Hub has a passing error."""
        with self._errors():
            return retry(call, _WAITS, _is_passing)
        raise AssertionError  # `_errors` lets no error through without raising another

    @contextmanager
    def _errors(self, conflicts: bool = False) -> Iterator[None]:
        try:
            yield
        except OfflineModeIsEnabled as error:
            raise HubError("the Hub cannot be reached in offline mode; unset HF_HUB_OFFLINE") from error
        except HFValidationError as error:
            raise UsageError(f"--repo: expected OWNER/NAME, got {self.name!r}: {first_line(error)}") from error
        except RepositoryNotFoundError as error:
            raise HubError(
                f"{self._api.endpoint} has no data set {self.name}, or the token may not see it; {_log_in()}"
            ) from error
        except RevisionNotFoundError as error:
            raise HubError(
                f"{self.name} has no branch {self.branch} any more, or a tag of it names a commit that is gone; call again"
            ) from error
        except HfHubHTTPError as error:
            status = error.response.status_code
            if conflicts and status in (*_OUTRUN, *_PASSING):
                raise OutrunError(f"{status}") from error
            raise HubError(self._refused(status, error)) from error
        except HTTPError as error:
            if conflicts:
                raise OutrunError(first_line(error)) from error
            raise HubError(
                f"{self._api.endpoint} cannot be reached ({first_line(error)}); call again: what was sent is not sent again"
            ) from error
        except (RuntimeError, ValueError) as error:  # an upload that failed, a card that the Hub refuses
            said = " ".join(str(error.__cause__ or error).split())
            raise HubError(f"{self.name}: {hidden(said)}; call again: what was sent is not sent again") from error

    def _refused(self, status: int, error: HfHubHTTPError) -> str:
        said = hidden(error.server_message or first_line(error))
        if status in (401, 403):
            return f"{self._api.endpoint} does not let you change {self.name} ({status}: {said}); {_log_in()}"
        again = "; call again: what was sent is not sent again" if status in _PASSING else ""
        return f"{self._api.endpoint} refused ({status}: {said}){again}"


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _PASSING
    return isinstance(error, HTTPError)


def _log_in() -> str:
    if get_token() is None:
        return "there is no token here: call `hf auth login`, or set HF_TOKEN"
    return "there is a token here: see with `hf auth whoami` whether it is valid, and whether its owner may write there"


def _readable(source: Place | bytes) -> Path | bytes | BinaryIO:
    """A file's content in a form that can be sent. Of one in a store, that is read as it is sent."""
    return source if isinstance(source, Path | bytes) else io.BufferedReader(cast(io.RawIOBase, source.open("rb")))


@lru_cache(maxsize=4096)
def _file_hash(file: Place) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(cast(io.BufferedIOBase, data), "sha256").hexdigest()
