"""The examples that share a context: which of them go together, so that no needle of one gives away the answer of another."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product

from synthctx_data.errors import BuildError
from synthctx_data.example import Concept
from synthctx_data.matching import comparable, comparables, holds

Apart = Callable[[int, int], bool]  # True if two concepts, by their index in a list, cannot share a context


def arrange(concepts: Sequence[Concept], questions: int, apart: Apart = lambda one, other: False) -> list[list[int]]:
    """The indices of the concepts in groups of `questions`, each of which can share a context; the last group may be smaller.

    Each concept goes into the first group that has room and suits it. Where there is none, it takes the place of another concept that
    suits a group with room.

    Raises: BuildError if a concept suits none.
    """
    clash = cache(lambda one, other: apart(one, other) or _give_away(concepts[one], concepts[other]))

    def suits(one: int, group: Sequence[int], without: int | None = None) -> bool:
        return not any(clash(min(one, other), max(one, other)) for other in group if other != without)

    starts = range(0, len(concepts), questions)
    rooms = [min(questions, len(concepts) - start) for start in starts]
    groups: list[list[int]] = [[] for _ in starts]
    for one in range(len(concepts)):
        free = [group for group, room in zip(groups, rooms, strict=True) if len(group) < room]
        chosen = next((group for group in free if suits(one, group)), None)
        if chosen is not None:
            chosen.append(one)
            continue
        target, moved, group = _exchange(one, free, groups, suits)
        group[group.index(moved)] = one
        target.append(moved)
    return groups


def _exchange(
    one: int, free: Sequence[list[int]], groups: Sequence[list[int]], suits: Callable[..., bool]
) -> tuple[list[int], int, list[int]]:
    """A group with room, the concept that moves there, and the group where `one` takes its place."""
    for target, group in product(free, groups):
        for moved in group if group is not target else ():
            if suits(one, group, moved) and suits(moved, target):
                return target, moved, group
    raise BuildError(
        f"--questions: expected that each question can share a context with others, and the answer of one stands in too many needles of "
        f"others; lower --questions, or leave out such questions (it is the example number {one} of its part)"
    )


def _give_away(one: Concept, other: Concept) -> bool:
    """True if two concepts share a needle's page, or if a needle's page of one holds an answer of the other."""
    pages = [{needle.page.document.text for needle in concept.needles} for concept in (one, other)]
    return not pages[0].isdisjoint(pages[1]) or _holds(one, other) or _holds(other, one)


def _holds(one: Concept, other: Concept) -> bool:
    answers = comparables(other.answers)
    return any(holds(needle.page.normal or comparable(needle.page.body), answers) for needle in one.needles)
