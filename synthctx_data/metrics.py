"""Metrics that compare normalised answers: as a whole, by their words, inside longer texts, or as citations.

No text makes a metric raise an error. An empty prediction has a score, and so has one that normalisation makes empty.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_CITED = re.compile(r"\[([0-9]{1,9}(?:\s*[,;]\s*[0-9]{1,9})*)\]")
_PUNCTUATION = string.punctuation.encode()


def normalize_answer(text: str) -> str:
    """The text in lower case, without ASCII punctuation, articles and repeated whitespace.

    Source: the SQuAD v1.1 evaluation script (Rajpurkar et al. 2016); Lost in the Middle scores with the same.
    """
    return " ".join(_ARTICLES.sub(" ", without_punctuation(text)).split())


def without_punctuation(text: str) -> str:
    """The text in lower case, without ASCII punctuation."""
    # Of bytes, since that takes an eighth of the time: no other character has one of these in UTF-8.
    return text.lower().encode(errors="surrogatepass").translate(None, _PUNCTUATION).decode(errors="surrogatepass")


class Score(NamedTuple):
    """Precision, recall and their harmonic mean, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def exact_match(prediction: str, answers: Iterable[str]) -> float:
    """1 if the prediction equals one of the answers, all of them normalised; else 0.

    Source: the SQuAD v1.1 evaluation script.
    """
    predicted = normalize_answer(prediction)
    return float(any(predicted == normalize_answer(answer) for answer in answers))


def answer_f1(prediction: str, answers: Iterable[str]) -> float:
    """The F1 of the normalised words of the prediction, in [0, 1]: the best over the answers.

    If normalisation leaves nothing of the prediction or of an answer, the F1 is 1 if it leaves nothing of both, else 0.
    Source: the SQuAD v2.0 evaluation script, which MuSiQue's follows.
    """
    predicted = Counter(normalize_answer(prediction).split())
    return max((_words_f1(predicted, Counter(normalize_answer(answer).split())) for answer in answers), default=0.0)


def answer_recall(prediction: str, answers: Iterable[str]) -> float:
    """The share of the normalised words of an answer that the prediction has, in [0, 1]: the best over the answers."""
    predicted = Counter(normalize_answer(prediction).split())
    return max((_words_recall(predicted, Counter(normalize_answer(answer).split())) for answer in answers), default=0.0)


def best_subspan_em(prediction: str, answers: Iterable[str]) -> float:
    """1 if the first line of the prediction holds one of the answers, all of them normalised; else 0.

    Source: Lost in the Middle (Liu et al. 2024), src/lost_in_the_middle/metrics.py and scripts/evaluate_qa_responses.py.
    """
    predicted = normalize_answer(prediction.split("\n", 1)[0])
    return float(any(normalize_answer(answer) in predicted for answer in answers))


def set_score(predicted: AbstractSet[int], gold: AbstractSet[int]) -> Score:
    """The score of a set of documents against the gold set: all 1 if both are empty, all 0 if they share none.

    MuSiQue scores supporting paragraphs this way (Trivedi et al. 2022), and SummHay scores citations (Laban et al. 2024).
    """
    if not predicted and not gold:
        return Score(1.0, 1.0, 1.0)
    shared = len(predicted & gold)
    if not shared:
        return Score(0.0, 0.0, 0.0)
    precision, recall = shared / len(predicted), shared / len(gold)
    return Score(precision, recall, 2 * precision * recall / (precision + recall))


def citations(text: str) -> frozenset[int]:
    """The document numbers, of at most 9 digits each, that a text cites in brackets: 3, 17 and 22 for "[3][17, 22]"."""
    return frozenset(int(number) for group in _CITED.findall(text) for number in re.findall(r"[0-9]+", group))


def citation_score(prediction: str, answer: str) -> Score:
    """The score of the citations of a prediction against those of the answer."""
    return set_score(citations(prediction), citations(answer))


def _words_f1(predicted: Counter[str], gold: Counter[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    shared = (predicted & gold).total()
    return 2 * shared / (predicted.total() + gold.total())


def _words_recall(predicted: Counter[str], gold: Counter[str]) -> float:
    return (predicted & gold).total() / gold.total() if gold else float(not predicted)
