"""Command lines: options from YAML and arguments, and errors in one line."""

import os
import sys
from argparse import ArgumentParser, BooleanOptionalAction, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from synthctx_data.errors import SynthctxError, UsageError

Options = TypeVar("Options", bound=BaseModel)


@contextmanager
def errors_in_one_line(command: str) -> Iterator[None]:
    """Ends the program with the message of an error that the user can mend."""
    try:
        yield
    except SynthctxError as error:
        print(f"{command}: " + " ".join(str(error).split()), file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        wanted = (
            f"{command}: expected {error.name}, which is not installed; pip install -c constraints.txt -e '.[analysis]'"
        )
        print(wanted, file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("SYNTHCTX_TRACEBACK"):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"{command}: {reason[:500]} (SYNTHCTX_TRACEBACK=1 shows where)", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{command}: interrupted; the same command goes on from what is done", file=sys.stderr)
        sys.exit(130)


def read_yaml(path: str) -> dict[str, Any]:
    """The options that a YAML file sets.

    Raises: UsageError if there is no such file, or if it is not made of names and values.
    """
    file = Path(os.path.expanduser(path))
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--config: expected a recipe such as training/recipes/tiny_mdqa_symbolic.yaml: {error}"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"--config: expected YAML, and {file} does not parse: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"--config: expected options by name in {file}, got {type(values).__name__}")
    return values


def make(kind: type[Options], values: dict[str, Any]) -> Options:
    """The options of this kind.

    Raises: UsageError for the first value that cannot be used, or a name that is none.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "missing":
            raise UsageError(f"--{_dashed(name)} is missing: {kind.model_fields[name].description}") from None
        if first["type"] == "extra_forbidden":
            raise UsageError(f"expected options among {', '.join(kind.model_fields)}; got {name!r}") from None
        expected = first["msg"].removeprefix("Input should be ")
        raise UsageError(f"--{_dashed(name)}: expected {expected}, got {first['input']!r}") from None


def parse(kind: type[Options], arguments: Sequence[str], description: str, epilog: str) -> tuple[Options, str]:
    """The options of a command line, over those of the file that `--config` names, over the defaults; and that file's name.

    Raises: UsageError for a value that cannot be used.
    """
    parser = ArgumentParser(
        description=description, epilog=epilog, formatter_class=RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--config", metavar="YAML", help="A file of these options; the command line goes over it.")
    for name, field in kind.model_fields.items():
        _add(parser, name, field.annotation, _help(field.description or "", field.default))
    given = vars(parser.parse_args(arguments))
    config = given.pop("config")
    values = read_yaml(config) if config else {}
    values.update({name: value for name, value in given.items() if value is not None})
    return make(kind, values), Path(config).stem if config else ""


def _add(parser: ArgumentParser, name: str, kind: Any, text: str) -> None:
    flag = f"--{_dashed(name)}"
    if kind is bool:
        parser.add_argument(flag, action=BooleanOptionalAction, default=None, help=text)
    elif get_origin(kind) is list:
        parser.add_argument(flag, nargs="+", metavar=name.upper(), help=text)
    elif get_origin(kind) is Literal:
        parser.add_argument(flag, choices=get_args(kind), help=text)
    else:
        parser.add_argument(flag, metavar=name.upper().rsplit("_", maxsplit=1)[-1], help=text)


def _help(text: str, default: object) -> str:
    known = default in (None, []) or "default" in text or str(default) == "PydanticUndefined"
    return text if known else f"{text} ({' '.join(map(str, default)) if isinstance(default, list) else default})"


def _dashed(name: str) -> str:
    return name.replace("_", "-")
