"""The log: what happens behind the scenes, for whoever looks for a fault. It is Python's `logging`, under the name "synthctx"."""

import logging
import os
from typing import Literal, get_args

from synthctx_data.errors import UsageError
from synthctx_data.shown import hidden, visible

VARIABLE = "SYNTHCTX_LOG"
_Level = Literal["debug", "info", "warning"]
LOG = logging.getLogger("synthctx")
LOG.addHandler(logging.NullHandler())  # silent, unless a program or the variable says otherwise


class _SafeFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(hidden(super().format(record)))


def start_log() -> None:
    """Sends the log of this process to standard error, from the level on that SYNTHCTX_LOG names. Without it, nothing is sent.

    Raises: UsageError if there is no such level.
    """
    level = os.environ.get(VARIABLE, "")
    if not level or any(isinstance(one.formatter, _SafeFormatter) for one in LOG.handlers):
        return
    if level not in get_args(_Level):
        raise UsageError(f"{VARIABLE}: expected one of {', '.join(get_args(_Level))}, got {level!r}")
    handler = logging.StreamHandler()
    handler.setFormatter(_SafeFormatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(level.upper())
