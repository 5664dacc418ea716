"""The options of requests to a language model: their address, their speed, and their cost. None of them decides a row."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from builders.writing.prices import Spending, find_price
from synthctx_data.errors import UsageError, first_line
from synthctx_data.files import expanded
from synthctx_data.option_model import OptionModel, panel
from synthctx_data.shown import public_address

NO_KEY = "none"  # the key for servers that ask for none
_OPENAI = "https://api.openai.com/v1"
_PANEL = panel("Requests to the language model", 5)
_Amount = Annotated[float, Field(allow_inf_nan=False)]


_LONGEST_KEY = 10_000  # characters


class WritingOptions(OptionModel):
    """The options of asking a language model for documents."""

    endpoint: Annotated[str | None, _PANEL] = None
    """An OpenAI-compatible API, e.g. http://localhost:8000/v1. Default: $OPENAI_BASE_URL, or else OpenAI's."""
    api_key_file: Annotated[Path | None, _PANEL] = None
    """A file that holds the key of the API. Default: $OPENAI_API_KEY."""
    prices: Annotated[Path | None, _PANEL] = None
    """A YAML table of prices, e.g. 'my-model: {input: 0.5, output: 1.5, batch: 0.5}'. Default: a few known ones."""
    budget_usd: Annotated[_Amount | None, Field(ge=0), _PANEL] = None
    """The most US dollars that this call spends. Answers that are under way are reckoned at full length."""
    concurrency: Annotated[int, Field(ge=1, le=10000), _PANEL] = 16
    """Requests at the same time."""
    requests_per_minute: Annotated[_Amount | None, Field(ge=0.001), _PANEL] = None
    """Requests a minute at most. Default: no limit."""
    tokens_per_minute: Annotated[_Amount | None, Field(ge=1), _PANEL] = None
    """Tokens a minute at most, of requests and of their longest answers. Default: no limit."""
    timeout: Annotated[_Amount, Field(ge=0.1), _PANEL] = 600.0
    """Seconds that one answer may take."""
    batch: Annotated[bool, _PANEL] = False
    """Use the Batch API, which is cheaper and answers within a day. The call waits; if it is stopped, call it again."""

    @property
    def address(self) -> str:
        """The address that requests are sent to."""
        return self.endpoint or os.environ.get("OPENAI_BASE_URL") or _OPENAI

    @property
    def public_address(self) -> str:
        """The address, which is kept and shown.

        Raises: UsageError if it is none, or holds what may be secret.
        """
        return public_address(self.address, "--endpoint" if self.endpoint else "OPENAI_BASE_URL")

    @property
    def key(self) -> str:
        """The key of the API.

        Raises: UsageError if its file cannot be read, or does not hold a key.
        """
        if self.api_key_file is None:
            key, place = os.environ.get("OPENAI_API_KEY") or NO_KEY, "OPENAI_API_KEY"
        else:
            place = f"--api-key-file {self.api_key_file}"
            try:
                with expanded(self.api_key_file).open(encoding="utf-8") as file:
                    key = file.read(_LONGEST_KEY + 2).strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{place}: expected a file that holds a key: {first_line(error)}") from None
        if not key or not key.isascii() or not key.isprintable() or len(key) > _LONGEST_KEY:
            raise UsageError(
                f"{place}: expected one key, on one line, in ASCII, of at most {_LONGEST_KEY:,} characters"
            )
        return key

    def spending(self, model: str) -> Spending:
        """An account of what one call spends on the model, with its price if that is known.

        Raises: UsageError if a budget needs the price, and it is not known.
        """
        price = find_price(model, self.prices)
        if price is None and self.budget_usd is not None:
            raise UsageError(
                f"--budget-usd: expected a price for {model!r}; give --prices FILE with a line like {model}: {{input: 0.5, output: 1.5}} "
                "(US dollars for a million tokens)"
            )
        return Spending(price, self.budget_usd, self.batch)
