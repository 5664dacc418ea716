"""The passages of a user's documents, and which of them each split may ask about."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil

from synthctx_data.errors import CorpusError
from synthctx_data.example import Document
from synthctx_data.passages import count_words
from synthctx_data.seeding import Stream
from synthctx_data.task import Setting

ROUNDS = 4  # questions about one passage, at most
COMMON = 0.2  # of all passages: an answer that more hold is refused
_TENTH = 10  # one document in ten is for validation
_WORDS = 25, 1500  # of a passage that is asked about
_ROOM = 1 / (
    1 - COMMON
)  # of the tokens of a context, that documents must have: those that hold its answer stay out of it


class Divided:
    """Passages, divided between the splits by their documents. A tenth of these is for validation: if there is such a split, at least one.

    passages: all passages, each a document of the prompt.
    document_of: the name of each passage's document.
    passages_of: the numbers of every document's passages.
    of_split: the numbers of the passages that each split may ask about.
    """

    def __init__(self, setting: Setting, passages: Sequence[Document], stream: Stream) -> None:
        self._setting = setting
        self.passages = passages
        self.document_of = [passage.origin.rpartition("#char=")[0] or passage.title for passage in passages]
        self.passages_of: dict[str, list[int]] = {}
        for number, name in enumerate(self.document_of):
            self.passages_of.setdefault(name, []).append(number)
        names = list(self.passages_of)
        order = [names[i] for i in stream.order(len(names))]
        cut = ceil(len(order) / _TENTH) if setting.sizes.get("validation") else len(order) // _TENTH
        self._documents = {"validation": order[:cut], "train": order[cut:]}
        self._held_out = frozenset(self._all_of("validation"))
        self.of_split = {
            split: [number for number in self._all_of(split) if not self._unfit(number)] for split in setting.sizes
        }

    def left_out(self, split: str) -> frozenset[int]:
        """The numbers of the passages that stand in no context of a split: train shows nothing of validation's documents."""
        return self._held_out if split == "train" else frozenset()

    def require(self, split: str, least_documents: int, tokens: float) -> None:
        """Raises: CorpusError if the documents are too few for what a split asks. `tokens` are those of all that its contexts may hold."""
        most, there = self._setting.options.max_tokens, self.of_split[split]
        documents = len({self.document_of[number] for number in there})
        asked, bears = self._setting.sizes[split], len(there) * ROUNDS
        if tokens < most * _ROOM:
            raise CorpusError(
                f"--corpus: expected documents of {most * _ROOM:,.0f} tokens for the {split} split, whose contexts have {most:,} and "
                f"leave out what holds their answers, and there are about {tokens:,.0f}; lower --max-tokens, or give more documents"
            )
        if documents < least_documents:
            raise CorpusError(
                f"--corpus: expected passages to ask about, of {least_documents} or more documents of the {split} split, and "
                f"{self._missing(split)}; give more documents, raise --max-tokens, or say --{split} 0"
            )
        if asked > bears:
            raise CorpusError(
                f"--corpus: expected passages for {asked} questions of the {split} split, and these documents have {len(there)}, each of "
                f"which bears {ROUNDS} questions at most; lower --{split} to {bears}, or give more documents"
            )

    def outlook(self, split: str) -> str:
        """What a split asks of its passages, in words."""
        there, asked = self.of_split[split], self._setting.sizes[split]
        documents = len({self.document_of[number] for number in there})
        return (
            f"{split}: {len(there):,} passages of {documents:,} documents can be asked about; you ask {asked:,} questions, "
            f"{asked / len(there):.1f} for each passage, of at most {ROUNDS * len(there):,} (fewer if a question needs several passages)"
        )

    def _all_of(self, split: str) -> Iterable[int]:
        return (number for name in sorted(self._documents[split]) for number in self.passages_of[name])

    def _missing(self, split: str) -> str:
        """Why passages of a split cannot be asked about, with their number."""
        reasons = Counter(filter(None, map(self._unfit, self._all_of(split))))
        of = f"it has {len(self._documents[split])} of {len(self.passages_of)} documents (one in ten is for validation)"
        return f"{of}; of their passages " + (", ".join(f"{n} {why}" for why, n in reasons.items()) or "none is unfit")

    def _unfit(self, number: int) -> str:
        """Why a passage cannot be asked about, in words; empty if it can be."""
        passage = self.passages[number]
        (least, most), half = _WORDS, self._setting.options.max_tokens // 2
        words = count_words(passage.text)
        if words < least:
            return f"have fewer than {least} words"
        if not any(map(str.isupper, passage.title + passage.text)):
            return "have no capital letter, and so no name that a question could hold"
        if words > most or not self._setting.layout.fits("", [passage], half):
            return f"have more than {most:,} words, or than half of --max-tokens"
        return ""
