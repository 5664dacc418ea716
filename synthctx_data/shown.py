"""Texts from outside as they may be shown: without secrets, and without characters that command a terminal or hide what stands there."""

import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from synthctx_data.errors import UsageError

# Control characters but tabs and line ends, and the marks that change the direction of text or that cannot be seen.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_USER = re.compile(r"(?P<scheme>\w+://)[^/\s@'\"]*@")  # the user, and perhaps a password, of an address
_SECRETS = ("OPENAI_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SHORTEST = 8  # characters of a secret: a shorter one is a word like "none"
_kept: set[str] = set()


def keep_secret(text: str) -> None:
    """Lets `hidden` cut a text out of all others from now on, if it has at least 8 characters."""
    _kept.update([text] if len(text) >= _SHORTEST else [])


def hidden(text: str) -> str:
    """The text without keys, tokens, and the user and password of addresses.

    It has to be called before a text is cut, since half of a key is not found.
    """
    known = {*_kept, *(value for name in _SECRETS if len(value := os.environ.get(name, "")) >= _SHORTEST)}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _USER.sub(lambda found: f"{found['scheme']}***@", text)


def visible(text: str) -> str:
    """The text with every character that commands a terminal, or that cannot be seen, in its escaped form such as \\x1b."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class SafeConsole(Console):
    """A terminal that shows texts from outside as they are: none of them moves the cursor, hides text, or tells a secret."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(hidden(text)), style, control)


def public_address(url: str, option: str) -> str:
    """The address of an API, which is kept and shown.

    Raises: UsageError if it is no address, or if it holds a user name, a password or a query, which may be secret.
    """
    # The value is not repeated where it may be a key in the wrong place.
    none = UsageError(f"{option}: expected an address such as http://localhost:8000/v1, and got something else")
    parts = _parts(url)
    if parts is None:
        raise none
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"{option}: expected an address without user name, password and query, such as {shown}; a key goes into OPENAI_API_KEY or "
            "--api-key-file"
        )
    return shown


def _parts(url: str) -> SplitResult | None:
    """The parts of an address of a server; None if it is none."""
    try:
        parts = urlsplit(url)
        sound = url.isprintable() and not re.search(r"\s", url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and sound
    except ValueError:
        return None
    return parts if known else None


def require_environment(environment: Any = os.environ) -> None:
    """Raises: UsageError for a variable that libraries read when they are imported, and that they would stumble over."""
    endpoint = environment.get("HF_ENDPOINT")
    if endpoint is not None and _parts(endpoint) is None:
        raise UsageError(
            f"HF_ENDPOINT: expected the address of a Hub, such as https://huggingface.co, got {hidden(endpoint)!r}; mend or unset it"
        )
    for name in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        if not environment.get(name, "1").isdecimal():
            raise UsageError(f"{name}: expected a whole number of seconds, got {environment[name]!r}; mend or unset it")
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if (place := environment.get(name)) and not os.path.exists(place):  # noqa: PTH110  # it may be no path at all
            raise UsageError(f"{name}: expected a place of certificates, and there is no {place!r}; mend or unset it")
