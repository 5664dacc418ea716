"""synthctx show"""

from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from builders.commands.tables import example
from synthctx_data.command import OptionsFile, out
from synthctx_data.dataset import find_variants, parse_address
from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.example import CHAT
from synthctx_data.option_model import OptionModel
from synthctx_data.places import reached
from synthctx_data.row_checks import wrong_spans


class ShowOptions(OptionModel):
    """The options of `synthctx show`."""

    split: Literal["train", "validation"] = "train"
    """The split of the example."""
    index: Annotated[int, Field(ge=0)] = 0
    """The index of the example in its split, from 0."""
    around: Annotated[int | None, Field(ge=0, le=1000)] = None
    """Documents before and behind each needle's that are shown, too. Default: none."""
    full: Annotated[bool, Parameter(negative=())] = False
    """Show all documents."""
    revision: str | None = None
    """The revision on the Hub: a tag such as v1.0.0, a branch, or a commit."""


def show(
    place: Annotated[
        str,
        Parameter(
            help="PLACE:VARIANT@REVISION, where PLACE is a built folder, here or in a store such as S3, or a Hub id."
        ),
    ],
    variant: Annotated[str | None, Parameter(help="The variant, if PLACE does not name it.")] = None,
    /,
    *,
    options: Annotated[ShowOptions, Parameter(name="*")] = ShowOptions(),
    config: OptionsFile = None,
) -> None:
    """Prints one example."""
    if options.full and options.around is not None:
        raise UsageError("--around, --full: expected one of them; --full shows all documents")
    address = parse_address(place, options.revision)
    name = variant or address.variant
    if name is None:
        raise UsageError(f"expected a variant, as in {address.place}:symbolic_haystack; got {place!r}")
    with reached(address.place):
        (found,) = find_variants(address, [name])
        row = found.row(options.split, options.index)
        count = found.count_by_split()[options.split] if address.is_folder else "fewer"
    if row is None:
        raise UsageError(
            f"expected an --index below the examples of the split; {name} has {count} in {options.split}, got {options.index}"
        )
    if row["concept_expression"] != CHAT and (problem := wrong_spans(row)):
        raise DatasetError(f"{row['id']} is damaged: {problem}; synthctx check finds all such rows")
    out.print(example(row, None if options.full else options.around or 0), soft_wrap=True)
