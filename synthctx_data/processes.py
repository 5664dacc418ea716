"""What all worker processes do."""

import os
import threading
from multiprocessing import parent_process

from synthctx_data.log import start_log


def begin_work() -> None:
    """Begins a worker process: it ends as soon as its parent has ended, however that ended, and logs as its parent does."""
    start_log()
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
