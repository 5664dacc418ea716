"""The versions that a report of a fault should name."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from synthctx_data import CONTENT_VERSION, __version__

_LIBRARIES = [
    *(
        "datasets",
        "huggingface-hub",
        "pyarrow",
        "tokenizers",
        "numpy",
        "scipy",
        "openai",
        "pydantic",
        "cyclopts",
        "rich",
        "ray",
    ),
    *("torch", "transformers", "trl", "peft", "accelerate"),
]


def versions() -> str:
    """The versions of synthctx, of its rows, of Python, of the system, and of the libraries that are installed, a line each."""
    found = {
        "synthctx": __version__,
        "content of the rows": CONTENT_VERSION,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.platform()}, {os.cpu_count()} cores",
        **{name: _installed(name) for name in _LIBRARIES},
    }
    return "\n".join(f"{name}: {said}" for name, said in found.items())


def _installed(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
