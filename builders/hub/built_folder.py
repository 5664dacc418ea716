"""A folder that `synthctx build` wrote, on its way to a Hub: its task, its card, and its variants as offers."""

from builders import find_task
from builders.hub.card import CARD, Card, merge, read_card
from builders.hub.publish import Offer, Publication, is_ours
from synthctx_data.dataset import Address, BuiltVariant, find_variants
from synthctx_data.errors import DatasetError, UsageError
from synthctx_data.examine import Examined
from synthctx_data.files import Place
from synthctx_data.places import listed
from synthctx_data.task import Task


def task_of(folder: Place) -> Task:
    """The task of a folder's variants.

    Raises: UsageError if there is no such folder, or if it holds several tasks; DatasetError if a manifest names no task.
    """
    if not folder.is_dir():
        raise UsageError(
            f"expected a folder that synthctx build wrote, such as synthctx/mdqa_synth; there is no {folder}"
        )
    variants = find_variants(Address(str(folder)))
    unknown = [variant.name for variant in variants if not isinstance(variant.manifest.get("task"), str)]
    if unknown:
        raise DatasetError(
            f"expected a build.json in {folder / unknown[0]} that names its task; remove that folder and build it again"
        )
    tasks = {variant.manifest["task"] for variant in variants}
    if len(tasks) > 1:
        raise UsageError(f"expected variants of one task in {folder}, found {', '.join(sorted(tasks))}")
    return find_task(*tasks)


def folder_card(folder: Place) -> Card:
    """The card of a folder.

    Raises: DatasetError if there is none.
    """
    path = folder / CARD
    if not path.exists():
        raise DatasetError(
            f"expected a card {path}; synthctx build writes it when it is called again with the same options"
        )
    return read_card(path.read_bytes(), str(path))


def offer_of(publication: Publication, mine: Card, variant: BuiltVariant) -> Offer:
    """The offer of a folder's variant: its files, and its part of the folder's card, as they are to be on the Hub.

    Raises: DatasetError if files are missing, or if the card does not describe the variant.
    """
    variant.require_complete()
    mine.part(variant.name)  # raises an error that says what is missing
    _require_described(variant, mine)
    here = {f"{variant.name}/{file.name}": file for file in listed(variant.folder, "*") if is_ours(file.name)}

    def card(theirs: Card | None) -> Card:
        if theirs and theirs.changed and mine.edited and theirs.prose != mine.prose:
            publication.notes[
                f"{CARD} was edited on the Hub, and that text stays; the one that was edited here was not sent: "
                "put into it what shall stay, and the whole into the card on the Hub"
            ] = None
        faults = publication.faults.get(variant.name, "")
        return merge(publication.task, publication.repository.name, theirs, mine, variant.name, faults)

    return Offer(variant.name, variant.manifest, here, card)


def require_same_rows(variant: BuiltVariant, card: Card, examined: Examined) -> None:
    """Raises: DatasetError if the hashes of the rows are not those in the card."""
    for split, survey in examined.survey.splits.items():
        if f"`{survey.hash}`" not in card.blocks[variant.name]:
            raise DatasetError(
                f"the {split} rows of {variant.folder} are not those that were built: their SHA-256 begins {survey.hash}, "
                "and the card tells another; remove the folder and build it again"
            )


def _require_described(variant: BuiltVariant, card: Card) -> None:
    """Raises: DatasetError if the card does not hold the fingerprint of build.json."""
    if f"`{variant.manifest['fingerprint']}`" not in card.blocks.get(variant.name, ""):
        raise DatasetError(
            f"expected the card beside {variant.folder} to say how it was built, between the comments that synthctx wrote; "
            "remove the card, and call synthctx build again with the same options, which writes another"
        )
