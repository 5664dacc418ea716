"""synthctx mix"""

from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from builders import find_task
from builders.hub.card import update_card
from builders.mixing.card import describe_mixture
from builders.mixing.mix import Mixture, mix
from builders.mixing.recipe import read_recipe
from synthctx_data.command import OptionsFile, err, out, processes, progress_bar
from synthctx_data.option_model import OptionModel
from synthctx_data.places import folder_here

_WHERE = ("output", "workers")  # the options that decide no row


class MixOptions(OptionModel):
    """The options of `synthctx mix`. Those that are not given are the recipe's."""

    output: str = "synthctx"
    """The folder of this machine that the data set goes into, as OUTPUT/TASK."""
    train: Annotated[int | None, Field(ge=1)] = None
    """Training examples. Default: those of the recipe."""
    validation: Annotated[int | None, Field(ge=0)] = None
    """Validation examples. Default: those of the recipe."""
    tokenizer: str | None = None
    """The tokenizer that counts tokens. Default: the recipe's, or the one that comes with synthctx."""
    max_tokens: str | None = None
    """The budgets of the variants that are built, with the share of rows that each has: 32768, or 2048:4,8192:2. Default: the recipe's."""
    workers: Annotated[int | None, Field(ge=1)] = None
    """Processes. Any number gives the same rows. Default: one for each core."""


def mix_recipe(
    recipe: Annotated[
        str, Parameter(help="A YAML file, or the name of a recipe that comes with synthctx: mdqa_synth/recommended.")
    ],
    /,
    *,
    options: Annotated[MixOptions, Parameter(name="*")] = MixOptions(),
    config: OptionsFile = None,
) -> None:
    """Makes a mixture, and describes it in the card."""
    found = read_recipe(recipe, {name: value for name, value in options.changed().items() if name not in _WHERE})
    mixture = Mixture(found, folder_here("--output", options.output) / found.task)
    rows = found.train + found.validation
    built = sum(sum(piece.rows.values()) for piece in mixture.pieces if piece.part.variant)
    name = f"{found.task} {found.name}"
    try:
        with progress_bar(name, rows + built) as progress:
            fresh = mix(mixture, processes(options.workers), progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; what is done lies in {mixture.staging}, and the same command goes on from there"
        ) from None
    for note in mixture.passed.notes():
        err.print(f"{name}: {note}", soft_wrap=True)
    with progress_bar(f"describing {found.name}", rows) as progress:
        update_card(find_task(found.task), mixture.build, progress, describe_mixture(found))
    was = "" if fresh else " were there already, from the same recipe"
    out.print(f"{mixture.build.target}: {rows} examples of {len(found.parts)} parts{was}", soft_wrap=True)
    out.print(f'Load it:  load_dataset("{mixture.folder}", "{found.name}")', soft_wrap=True)
