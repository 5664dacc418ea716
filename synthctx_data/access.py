"""Where requests to a language model are sent, by what key, and how fast: light to import, unlike what sends them."""

import os
from dataclasses import dataclass
from pathlib import Path

from synthctx_data.errors import UsageError, first_line

NO_KEY = "none"  # what servers that ask for no key get


@dataclass(frozen=True)
class EndpointOptions:
    """Where requests are sent, and how fast.

    url: of an OpenAI-compatible API, such as http://localhost:8000/v1; None takes OPENAI_BASE_URL, or else OpenAI's.
    key_file: a file that holds the key; None takes OPENAI_API_KEY.
    concurrency: requests at the same time.
    requests_per_minute, tokens_per_minute: not to be passed; None is no limit.
    timeout: seconds that one answer may take.
    """

    url: str | None = None
    key_file: Path | None = None
    concurrency: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 600.0

    @property
    def address(self) -> str:
        """Where requests are sent."""
        return self.url or os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"

    @property
    def key(self) -> str:
        """The key.

        Raises: UsageError if its file cannot be read, or if it is no key.
        """
        if self.key_file is None:
            key, place = os.environ.get("OPENAI_API_KEY") or NO_KEY, "OPENAI_API_KEY"
        else:
            place = f"--api-key-file {self.key_file}"
            try:
                key = self.key_file.expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{place}: expected a file that holds a key: {first_line(error)}") from None
        if not key or not key.isascii() or not key.isprintable():
            raise UsageError(f"{place}: expected one key, on one line, in ASCII")
        return key
