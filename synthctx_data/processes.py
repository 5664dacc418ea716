"""What all worker processes do."""

import os
import threading
from multiprocessing import parent_process


def end_with_parent() -> None:
    """Makes this process end as soon as its parent has ended, however that ended."""
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
