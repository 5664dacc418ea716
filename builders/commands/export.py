"""synthctx export"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Annotated, Any, Literal, cast

from cyclopts import Parameter

from builders.exporting.formats import FORMATS, Format, lines
from synthctx_data.command import OptionsFile, out, progress_bar
from synthctx_data.dataset import BuiltVariant, find_variants, parse_variant_address
from synthctx_data.errors import UsageError
from synthctx_data.files import Place, whole
from synthctx_data.option_model import OptionModel
from synthctx_data.places import at, reached
from synthctx_data.tokens import load_counter

_ENDINGS = (".jsonl", ".json", ".jsonl.gz")


class ExportOptions(OptionModel):
    """The options of `synthctx export`."""

    format: Format = "openai"
    """The format. llamafactory and axolotl are openai's messages, with the lines of configuration that these tools need."""
    split: Literal["train", "validation"] = "train"
    """The split to write."""
    together: bool = False
    """Write rows on one context (build --questions) as one conversation: the context stands in it once, and a turn follows for each
    question."""
    tokenizer: str | None = None
    """For text: the tokenizer whose chat template, with thoughts off, makes a conversation one text. Default: message and answer on lines
    of their own."""


def export(
    place: Annotated[
        str, Parameter(help="PLACE:VARIANT or PLACE:VARIANT@REVISION: a built folder, a store or a Hub id.")
    ],
    file: Annotated[
        str,
        Parameter(
            help="The file to write, e.g. train.jsonl or train.jsonl.gz, here or in a store. It replaces one that is there."
        ),
    ],
    /,
    *,
    options: Annotated[ExportOptions, Parameter(name="*")] = ExportOptions(),
    config: OptionsFile = None,
) -> None:
    """Writes the rows of a split as JSON lines in the format of another tool."""
    written = FORMATS[options.format]
    if options.together and not written.several:
        raise UsageError(
            f"--together: {options.format} has one question and one answer in a line; leave it out, or take openai"
        )
    if options.tokenizer is not None and options.format != "text":
        raise UsageError(
            "--tokenizer: it is read with --format text only; the others leave the chat template to the tool"
        )
    render = load_counter(options.tokenizer).rendered if options.tokenizer else "{}\n{}".format
    address, target = parse_variant_address(place, ""), at(file)
    if not target.name.endswith(_ENDINGS):
        raise UsageError(f"expected a name that ends with {' or '.join(_ENDINGS)}, got {file}")
    with reached(address.place):
        (variant,) = find_variants(address)
    with reached(target), _opened(target) as output:
        count = 0
        for line in lines(_rows(variant, options.split), options.format, options.together, render):
            output.write(line.encode())
            count += 1
        if not count:
            raise UsageError(f"--split: expected rows of {options.split} in {address}, and there are none")
    unit = "conversations" if options.together else "rows"
    out.print(f"{file}: {count:,} {unit} of {options.split}", soft_wrap=True)
    if config_lines := written.config(target.name):
        out.print(f"\n{config_lines}", soft_wrap=True)


def _rows(variant: BuiltVariant, split: str) -> Iterator[dict[str, Any]]:
    with progress_bar(f"exporting {variant.name}", variant.count()) as progress:
        for of, row in variant.rows():
            progress(1)
            if of == split:
                yield row


@contextmanager
def _opened(target: Place) -> Iterator[IO[bytes]]:
    """The file, to be written; packed if its name ends with .gz. It appears whole."""
    with whole(target) as aside, aside.open("wb") as plain:
        if not target.name.endswith(".gz"):
            yield plain
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0) as packed:  # the same bytes at any time
            yield cast(IO[bytes], packed)
