"""synthctx page"""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import Field

from builders.page.write import Shown, sampled, write_page
from synthctx_data.command import OptionsFile, out, processes, progress_bar
from synthctx_data.dataset import BuiltVariant, find_variants, parse_address
from synthctx_data.errors import UsageError
from synthctx_data.examine import Examined, examine, expected
from synthctx_data.option_model import OptionModel
from synthctx_data.pages import require_page
from synthctx_data.places import is_remote, reached


class PageOptions(OptionModel):
    """The options of `synthctx page`."""

    split: Literal["train", "validation"] = "train"
    """The split that is shown."""
    sample: Annotated[int, Field(ge=1)] = 1000
    """Rows of each variant that are shown at most: of more, a random sample, with the same indices in each variant."""
    check: bool = True
    """Check the variants first, as `synthctx check` does (all of their rows), and show faults and floors."""
    output: Annotated[Path | None, Parameter(show_default=False)] = None
    """The file. Default: TASK.html, named after the last part of PLACE, here."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes that check. Default: one for each core."""
    revision: str | None = None
    """The revision on the Hub: a tag such as v1.0.0, a branch, or a commit."""


def page(
    place: Annotated[
        str,
        Parameter(
            help="PLACE, PLACE:VARIANT or PLACE:VARIANT@REVISION. PLACE is a built folder, here or in a store such as S3, or a Hub id."
        ),
    ],
    variants: Annotated[tuple[str, ...], Parameter(help="Variants. Default: all of PLACE.", show_default=False)] = (),
    /,
    *,
    options: Annotated[PageOptions, Parameter(name="*")] = PageOptions(),
    config: OptionsFile = None,
) -> None:
    """Writes the page of a data set."""
    address = parse_address(place, options.revision)
    place = str(Path(address.place).resolve()) if address.is_folder and not is_remote(address.place) else address.place
    name = place.rstrip("/").rpartition("/")[2]
    file = options.output or Path(f"{name}.html")
    require_page(file, f"{name}.html")
    with reached(address.place):
        named = [address.variant, *variants] if address.variant and variants else variants
        found = find_variants(address, [name for name in dict.fromkeys(named) if name])
        wanted = _wanted(found, options)
        shown = [
            Shown(one, _rows_in(one, options.split), _examined(one, options) if options.check else None)
            for one in found
        ]
        with progress_bar("writing", len(wanted) * len(found)) as advance:
            write_page(name, shown, options.split, wanted, file, advance)
    out.print(f"{file}: {len(wanted):,} examples; open it in a browser", soft_wrap=True)


def _wanted(found: list[BuiltVariant], options: PageOptions) -> list[int]:
    """The indices of the rows that are shown.

    Raises: UsageError if no variant has a row in the split.
    """
    counts = [_rows_in(one, options.split) for one in found]
    most = max(options.sample if count is None else count for count in counts)
    if not most:
        raise UsageError(f"--split: expected a split with rows, and {options.split} has none; take the other one")
    return sampled(most, options.sample)


def _rows_in(variant: BuiltVariant, split: str) -> int | None:
    """The number of rows of a variant's split; None if that is not known before they are read from the Hub."""
    return variant.count_by_split()[split] if variant.address.is_folder else None


def _examined(variant: BuiltVariant, options: PageOptions) -> Examined:
    with progress_bar(f"checking {variant.name}", variant.count()) as advance:
        return examine(variant, expected(variant.manifest), advance, processes(options.workers))
