"""The examples that share a context: which of them go together, so that no needle of one gives away the answer of another."""

from collections.abc import Callable, Sequence

from synthctx_data.example import Concept
from synthctx_data.matching import comparable, comparables, holds

Apart = Callable[[int, int], bool]  # True if two concepts, by their index in a list, cannot share a context


def arrange(
    concepts: Sequence[Concept], questions: int, room: int, apart: Apart = lambda one, other: False
) -> list[list[int]]:
    """The indices of the concepts in groups of at most `questions`, each of which can share a context.

    The needles' pages of a group have at most `room` tokens, if there are several. Each concept goes into the first group that has room
    and suits it, or else into a new one.
    """
    groups: list[list[int]] = []
    for one in range(len(concepts)):
        suiting = (
            group
            for group in groups
            if len(group) < questions
            and sum(_tokens(concepts[other]) for other in [*group, one]) <= room
            and not any(apart(other, one) or _give_away(concepts[other], concepts[one]) for other in group)
        )
        chosen = next(suiting, None)
        if chosen is None:
            groups.append([one])
        else:
            chosen.append(one)
    return groups


def _tokens(concept: Concept) -> int:
    return sum(needle.page.tokens for needle in concept.needles)


def _give_away(one: Concept, other: Concept) -> bool:
    """True if two concepts share a needle's page, or if a needle's page of one holds an answer of the other."""
    pages = [{needle.page.document.text for needle in concept.needles} for concept in (one, other)]
    return not pages[0].isdisjoint(pages[1]) or _holds(one, other) or _holds(other, one)


def _holds(one: Concept, other: Concept) -> bool:
    answers = comparables(other.answers)
    return any(holds(needle.page.normal or comparable(needle.page.body), answers) for needle in one.needles)
