"""synthctx check"""

from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from builders.commands.tables import report
from synthctx_data.command import AsJson, OptionsFile, out, print_json, processes, progress_bar
from synthctx_data.dataset import BuiltVariant, find_variants, parse_address
from synthctx_data.examine import Examined, examine, expected
from synthctx_data.option_model import OptionModel
from synthctx_data.places import reached


class CheckOptions(OptionModel):
    """The options of `synthctx check`."""

    max_tokens: Annotated[int | None, Field(ge=1)] = None
    """The budget. Default: what build.json says, else the tokens of the largest row."""
    depth: str | None = None
    """The depths that were asked for. Default: what build.json says, else uniform."""
    tokenizer: str | None = None
    """The tokenizer, to count num_tokens again. Default: the bundled one, where it was used."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes. Any number finds the same. Default: one for each core."""
    revision: str | None = None
    """The revision on the Hub: a tag such as v1.0.0, a branch, or a commit."""


def check(
    place: Annotated[
        str,
        Parameter(
            help="PLACE, PLACE:VARIANT or PLACE:VARIANT@REVISION. PLACE is a built folder, here or in a store such as S3, or a Hub id."
        ),
    ],
    variants: Annotated[tuple[str, ...], Parameter(help="Variants. Default: all of PLACE.", show_default=False)] = (),
    /,
    *,
    options: Annotated[CheckOptions, Parameter(name="*")] = CheckOptions(),
    json: AsJson = False,
    config: OptionsFile = None,
) -> int:
    """The exit code: 0 if no variant has a fault, else 1. Prints what was found."""
    address = parse_address(place, options.revision)
    with reached(address.place):
        found = {one.name: _check(one, options, json) for one in find_variants(address, list(variants))}
    if json:
        print_json({name: examined.as_json() for name, examined in found.items()})
    return 0 if all(examined.report.ok for examined in found.values()) else 1


def _check(variant: BuiltVariant, options: CheckOptions, quiet: bool) -> Examined:
    """What was found in a variant, after it is printed as a table, unless this is to be quiet."""
    asked = expected(variant.manifest, options.max_tokens, options.depth, options.tokenizer)
    with progress_bar(f"checking {variant.name}", variant.count()) as progress:
        examined = examine(variant, asked, progress, processes(options.workers))
    if not quiet:
        out.print(report(variant.name, examined))
    return examined
