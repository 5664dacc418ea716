"""The layout of a task's prompt: its `_example.jinja` (and `_forms.jinja`), rendered in units whose tokens are counted once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from synthctx_data.errors import TokenizerError
from synthctx_data.example import Concept, Document, Page, Span
from synthctx_data.prompts import Wording, render, wording
from synthctx_data.tokens import TokenCounter

# The end of a sentence, or of a line, with more text behind it.
SENTENCE_END = re.compile(r"""[.!?]["'”’)\]]*(?=\s+\S)|[。！？]["”’」』）]*(?=.)|[^\s.!?。！？](?=\n\s*\S)""")
_MOST_SENTENCES = 16


@dataclass(frozen=True, slots=True)
class Frame:
    """The text around the documents: the user message is `head`, then the documents, then `tail`.

    `tokens` is the number of tokens of the training sequence without documents: chat template, head, tail and answer.
    """

    head: str
    tail: str
    tokens: int


class Numbers(NamedTuple):
    """`lines[i]` is the line above document i + 1, which gives its number; `tokens[i]` is how many tokens that line has."""

    lines: list[str]
    tokens: list[int]


class Layout:
    """The layout of a task. It renders and counts the frame of a prompt, the numbers of documents, and the documents (pages)."""

    def __init__(self, task: str, counter: TokenCounter) -> None:
        self.task = task
        self.counter = counter
        self._address, self._forms = f"{task}/_example", f"{task}/_forms"
        self._titled = wording(self._address, "document", "title", "text")
        self._untitled = wording(self._address, "document", "text", title="")
        self._number = wording(self._address, "number", "number")
        self._numbers = Numbers([], [])
        self._around = (
            self._number.pieces[-1],
            self._number.pieces[0],
        )  # a document stands between two lines with numbers

    @cached_property
    def _head(self) -> str:
        return render(self._address, "instruction")

    @cached_property
    def _head_for_several(self) -> str:
        return render(self._forms, "instruction")

    def frame(self, concept: Concept) -> Frame:
        """The text around the documents of an example that asks `concept`."""
        if concept.quotes or concept.form in ("list", "count"):
            tail = render(self._forms, "ask", question=concept.question, quotes=concept.quotes, form=concept.form)
        else:
            tail = render(self._address, "question", question=concept.question)
        head = self._head_for_several if concept.form else self._head
        return Frame(head, tail, self.counter.conversation(head + tail, concept.completion))

    def numbers(self, count: int) -> "Numbers":
        """The number lines of at least the first `count` documents."""
        known = len(self._numbers.lines)
        if known < count:
            lines = [self._number.fill(number=str(i)) for i in range(known + 1, max(2 * known, count, 256) + 1)]
            self._numbers.lines.extend(lines)
            self._numbers.tokens.extend(self.counter.units(lines))
        return self._numbers

    def number_tokens(self, index: int) -> int:
        """The number of tokens of the line above the document at this index."""
        return self.numbers(index + 1).tokens[index]

    def number_span(self, index: int) -> Span:
        """The span of the number, in characters of the line above the document at this index."""
        return self._number.span("number", number=str(index + 1))

    def escape(self, text: str) -> str:
        """The text of a document without what a prompt means by itself.

        Special tokens of the tokenizer are taken apart by a space ("<|im_end|>" to "< |im_end|>"), or else they would end the user's
        turn. Lines that begin like the number above a document ("Document [3]") lose these brackets.
        """
        return self._number_line.sub(lambda found: re.sub(r"[\[\]]", "", found[0]), self.counter.break_special(text))

    @cached_property
    def _number_line(self) -> "re.Pattern[str]":
        before, after = (re.escape(piece.strip()) for piece in self._number.pieces)
        return re.compile(rf"^[^\S\n]*[\u200b\ufeff]*{before}\s*\d+\s*{after}", re.MULTILINE)

    def fits(self, question: str, documents: Sequence[Document], max_tokens: int) -> bool:
        """True if a budget has room for a question and the documents that it needs.

        Only long ones are counted. A text has no more tokens than bytes.
        """
        size = sum(len(document.text.encode()) + len(document.title.encode()) for document in documents) + len(
            question.encode()
        )
        if 2 * size <= max_tokens:
            return True
        pages = self.pages(list(documents))
        needed = sum(page.tokens for page in pages) + sum(self.numbers(len(pages)).tokens[: len(pages)])
        return needed + self.frame(Concept(question, "", (), ())).tokens <= max_tokens

    def page(self, document: Document, tokens: int = 0) -> Page:
        """The page of a document: rendered as in a prompt, with its tokens, which are counted if they are not known (0)."""
        return self.pages([document], [tokens] if tokens else None)[0]

    def pages(self, documents: list[Document], tokens: list[int] | None = None) -> list[Page]:
        """The pages of documents, in order. Their tokens are counted, unless they are known.

        Raises: TokenizerError if the tokenizer gives a document no tokens.
        """
        forms = [self._form(document) for document in documents]
        bodies = [form.fill(title=d.title, text=d.text) for form, d in zip(forms, documents, strict=True)]
        counts = tokens or self.counter.units(bodies, self._around)
        if min(counts) <= 0:
            empty = documents[counts.index(min(counts))].text[:60]
            raise TokenizerError(f"--tokenizer: expected one that gives every text tokens; it gives none to {empty!r}")
        return [
            Page(document, body, form.span("text", title=document.title, text=document.text), tokens)
            for document, form, body, tokens in zip(documents, forms, bodies, counts, strict=True)
        ]

    def cut_at_sentences(self, page: Page) -> list[Page]:
        """The page cut at the end of each sentence or line but the last, the longest first; at most 16 of them."""
        ends = [found.end() for found in SENTENCE_END.finditer(page.document.text)][-_MOST_SENTENCES:]
        texts = [page.document.text[:end] for end in reversed(ends)]
        return self.pages([replace(page.document, text=text) for text in texts]) if texts else []

    def cut(self, page: Page, most: int, least: int) -> Page | None:
        """The page, cut to at most `most` tokens; None if not even one character of its text can stay.

        The text is cut at a space if that keeps at least `least` tokens, and else between any two characters.
        """
        allowed = most
        while allowed > 0:
            end = self._end_of(page, allowed)
            text = page.document.text[: max(end - page.text.start, 0)].rstrip()
            if not text:
                return None
            words = text.rpartition(" ")[0].rstrip() if page.document.text[len(text) :][:1].strip() else text
            for candidate in (words, text):
                piece = self.page(replace(page.document, text=candidate)) if candidate else None
                if piece and piece.tokens <= most and (piece.tokens >= least or candidate is text):
                    return piece
            allowed -= 1
        return None

    def _end_of(self, page: Page, tokens: int) -> int:
        """The character of the body at which to cut so that about this many tokens stay, with the layout after its text."""
        ends = self.counter.ends(page.body)
        after = sum(1 for end in ends if end > page.text.end)
        kept = tokens - after
        return ends[min(kept, len(ends)) - 1] if kept > 0 else 0

    def _form(self, document: Document) -> Wording:
        return self._titled if document.title else self._untitled
