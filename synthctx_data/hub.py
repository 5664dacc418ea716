"""The Hugging Face Hub, as far as something is read from it: which texts may be ids, and whether it can be reached."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from synthctx_data.errors import SynthctxError, UsageError, first_line
from synthctx_data.places import is_remote

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_FILE = re.compile(
    r".*\.(json|jsonl|parquet|csv|tsv|txt|md|html?|pdf|docx|gz|zst|jinja|safetensors|ya?ml|sqlite)", re.IGNORECASE
)
_SECONDS = 5  # for the Hub to answer
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def has_form_of_hub_id(text: str) -> bool:
    """True if a text is OWNER/NAME or NAME, in characters that the Hub takes."""
    return bool(_HUB_ID.fullmatch(text))


def may_be_hub_id(text: str) -> bool:
    """True if a text may be OWNER/NAME or NAME on the Hub, and is no path of a file or folder here."""
    owner = text.partition("/")[0]
    return has_form_of_hub_id(text) and not _FILE.fullmatch(text) and not ("/" in text and os.path.isdir(owner))  # noqa: PTH112


def unreachable() -> str:
    """The reason why the Hub cannot be reached; empty if it can, or if a proxy leads there."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or any(os.environ.get(name) for name in _PROXIES):
        return ""
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), _SECONDS
        ):
            return ""
    except OSError as error:
        return f"{constants.ENDPOINT} cannot be reached: {first_line(error)}"


@contextmanager
def read_from(place: str, expected: str) -> Iterator[None]:
    """A context in which a library reads a folder here, or what the Hub has under this id. `expected` begins each error.

    Raises: UsageError for whatever the library raises, since files may hold anything; at once if it is no folder, and cannot be had from
    the Hub.
    """
    here = is_remote(place) or Path(place).exists()
    if not here and not may_be_hub_id(place):
        raise UsageError(f"{expected}, got {place!r}: it is not there, and no name of the Hub")
    away = "" if here else unreachable()
    try:
        with _offline() if away else nullcontext():
            yield
    except SynthctxError:
        raise
    except Exception as error:
        gated = (
            "; it is gated: ask for access on its page, then log in with `hf auth login`"
            if "gated" in str(error).lower()
            else ""
        )
        kind = "" if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: "
        reason = f"it is not here, and {away}" if away else f"{kind}{first_line(error)}"
        raise UsageError(f"{expected}, got {place!r}: {reason}{gated}") from error


@contextmanager
def _offline() -> Iterator[None]:
    """A context in which libraries look into the cache only: they would try to reach the Hub again and again."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
