"""Comparing texts: whether one holds an answer, however either is encoded, and in scripts without spaces too."""

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from unicodedata import category, combining, digit, normalize

from synthctx_data.example import Span
from synthctx_data.metrics import normalize_answer, without_punctuation

# Thai to Myanmar, Khmer, kana, Chinese characters, and Hangul, where particles follow a word without a space.
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_SPACELESS = re.compile(f"[{SPACELESS}]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_QUOTES = dict.fromkeys(map(ord, "‘’‚‛ʼ´′"), "'") | dict.fromkeys(map(ord, "“”„‟«»"), '"')
# Vowel points and the tatweel, which many leave out.
_POINTS = re.compile("[\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]")
_SELECTORS = re.compile("[\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_GAP = re.compile(rf"(?<=[{SPACELESS}])\s+(?=[{SPACELESS}])")


def fold(text: str) -> str:
    """The text with one form for each character: composed, in its usual width, with plain dashes and quotes, nothing invisible."""
    if text.isascii():
        return text
    found = normalize("NFKC", _SELECTORS.sub("", text.translate(_QUOTES))).translate(_QUOTES)
    if found.isascii():
        return found
    return _NOT_ASCII.sub(lambda one: _plain(one[0]), found)


def _plain(character: str) -> str:
    if character.isdigit():
        return str(digit(character))
    if character.isalnum():
        return "" if _POINTS.match(character) else character
    if _POINTS.match(character):
        return ""
    kind = category(character)
    return "" if kind == "Cf" else "-" if kind == "Pd" or character == "\u2212" else character


def comparable(text: str) -> str:
    """The text folded, without punctuation, and normalised as answers are: two texts that read the same are the same."""
    if text.isascii():
        return normalize_answer(text)
    plain = _NOT_ASCII.sub(lambda one: "" if category(one[0])[0] == "P" else one[0], fold(text).casefold())
    return normalize_answer(_GAP.sub("", plain) if _SPACELESS.search(plain) else plain)


def comparables(answers: Iterable[str]) -> tuple[str, ...]:
    """The distinct comparable answers, in order, without those of which nothing is left ("The", "!!!")."""
    return tuple(dict.fromkeys(filter(None, map(comparable, answers))))


def holds(text: str, answers: Iterable[str]) -> bool:
    """True if a comparable text holds one of the comparable answers, inside of words too ("10" is in "1066").

    A document that holds an answer is kept out of a haystack. An answer of one letter, one digit or two letters ("Ed")
    counts as a whole word only, since almost every text holds it inside of a word.
    """
    # A loop, since `any` of a generator takes twice as long, and this is called for every page of a haystack.
    for answer in answers:  # noqa: SIM110
        if answer in text and (not _is_everywhere(answer) or mentions(text, (answer,))):
            return True
    return False


def _is_everywhere(answer: str) -> bool:
    return answer.isascii() and (len(answer) == 1 or (len(answer) == 2 and answer.isalpha()))


def mentions(text: str, answers: Iterable[str]) -> bool:
    """True if a comparable text holds one of the comparable answers as whole words ("10" is not in "1066").

    In scripts without spaces, a word may begin and end anywhere.
    """
    return any(answer in text and (f" {answer} " in f" {text} " or _between_words(text, answer)) for answer in answers)


def says(text: str, answers: Sequence[str]) -> bool:
    """True if a text, as it is written, mentions one of the comparable answers: as `mentions` of the comparable text, but much faster.

    Making a long text comparable takes most of the time. So answers with a word that the text does not hold anywhere are left out first.
    """
    possible = _possible(text, answers)
    return bool(possible) and mentions(comparable(text), possible)


def one_says(texts: Iterable[str], answers: Sequence[str]) -> bool:
    """True if one of the texts, as they are written, mentions one of the comparable answers."""
    texts = list(texts)
    possible = _possible("\n".join(texts), answers)
    return bool(possible) and any(says(text, possible) for text in texts)


def _possible(text: str, answers: Sequence[str]) -> Sequence[str]:
    """The comparable answers whose words a text holds somewhere."""
    if not text.isascii():
        return answers
    plain = without_punctuation(text)
    return [answer for answer in answers if all(word in plain for word in answer.split(" "))]


def _between_words(text: str, answer: str) -> bool:
    """True if the text holds the answer where a script without spaces makes it a word of its own."""
    return _SPACELESS.search(text) is not None and _search(answer, text) is not None


def find_text(wanted: str, text: str, flags: re.RegexFlag = re.NOFLAG) -> Span | None:
    """The span of the first place where a text holds another as whole words, however both are encoded; None if nowhere."""
    if not wanted.strip():
        return None
    found = _search(wanted, text, flags)
    if found or (wanted.isascii() and text.isascii()):
        return found
    folded, origins = _folded(text)
    looked_for = fold(wanted).strip()
    place = _search(looked_for, folded, flags) if looked_for else None
    return Span(origins[place.start][0], origins[place.end - 1][1]) if place else None


def _search(wanted: str, text: str, flags: re.RegexFlag = re.NOFLAG) -> Span | None:
    """The span of the first place where a text holds another as words of their own; None if nowhere."""
    # A line may end between words, and in scripts without spaces anywhere.
    inside = r"\s+".join(map(re.escape, _GAP.sub("", wanted).split()))
    if not wanted.isascii():
        inside = re.sub(rf"(?<=[{SPACELESS}])(?=[{SPACELESS}])", r"\\s*", inside)
    pattern = re.compile(inside, flags)
    free_start, free_end = (_SPACELESS.match(edge) is not None for edge in (wanted[0], wanted[-1]))
    match = pattern.search(text)
    while match:
        start, end = match.span()
        if (free_start or not _is_word(text[start - 1 : start])) and (free_end or not _is_word(text[end : end + 1])):
            return Span(start, end)
        match = pattern.search(text, start + 1)
    return None


def _is_word(character: str) -> bool:
    """True for a character of a word that has spaces around it."""
    return character.isalnum() and not _SPACELESS.match(character)


def _folded(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The folded text, and for each of its characters the start and the end of what it was made from."""
    edges = [i for i, character in enumerate(text) if not combining(character) or i == 0]
    parts, origins = [], []
    for start, end in zip(edges, [*islice(edges, 1, None), len(text)], strict=True):
        part = fold(text[start:end])
        parts.append(part)
        origins += [(start, end)] * len(part)
    return "".join(parts), origins
