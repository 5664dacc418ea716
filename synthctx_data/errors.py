"""The errors that synthctx raises, as a tree.

    SynthctxError            something the user can mend; the command line prints it as one line
    ├── UsageError           a name, an option or a combination that does not exist (exit code 2)
    ├── CorpusError          a corpus that cannot be read, or that is too small
    ├── TokenizerError       a tokenizer that cannot be loaded
    ├── BudgetError          a context that cannot be filled to 99 % of max_tokens without passing it
    ├── ConflictError        a folder that was built with another configuration
    ├── BuildError           shards that could not be written
    ├── WriterError          documents that a language model has not written, or not as they were asked for
    ├── DatasetError         a built data set that cannot be read
    ├── PlaceError           a place outside this machine, such as s3://bucket/folder, that cannot be reached
    ├── HubError             a Hub that refuses, or that cannot be reached
    └── ModelError           a model whose attention cannot be reached

Every message says what was expected, what came, and what to do.
"""

from typing import Any, get_args

from pydantic import ValidationError


class SynthctxError(Exception):
    """The root of all errors of synthctx. The command line exits with its `exit_code`."""

    exit_code = 1


class UsageError(SynthctxError):
    exit_code = 2


class CorpusError(SynthctxError):
    pass


class TokenizerError(SynthctxError):
    pass


class BudgetError(SynthctxError):
    pass


class ConflictError(SynthctxError):
    pass


class BuildError(SynthctxError):
    pass


class WriterError(SynthctxError):
    pass


class DatasetError(SynthctxError):
    pass


class PlaceError(SynthctxError):
    pass


class HubError(SynthctxError):
    pass


class ModelError(SynthctxError):
    pass


def require_choice(name: str, value: object, choices: Any) -> None:
    """Raises: UsageError if a value is none of the choices, which are a Literal type."""
    if value not in get_args(choices):
        raise UsageError(f"{name}: expected one of {', '.join(map(str, get_args(choices)))}; got {value!r}")


def first_problem(error: ValidationError) -> str:
    """The first problem that pydantic found, with its place: "depth: Input should be a valid string"."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def first_line(error: Exception) -> str:
    """The first line of a library's error message, without the full stop; the name of the error's type if it is empty."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
