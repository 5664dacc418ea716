"""The scores of a model's heads on the rows of a data set."""

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase as Tokenizer

from analysis.attention_scores import mass, wu_forced
from analysis.branches import one_at_a_time
from analysis.causal_scores import causal
from analysis.figures import heatmap, histogram, map_size
from analysis.heads import SCORES_FILE, HeadScores, Scored
from analysis.interventions import transformers_model
from analysis.logit_score import logit
from analysis.options import DetectOptions, ScoreName
from analysis.qrhead_score import qrhead
from analysis.self_check import evaluating
from analysis.spans import Span, Tokens, neutral, tokens_of
from analysis.wu_score import wu
from synthctx_data.command import out, table, with_progress
from synthctx_data.dataset import load_rows, parse_variant_address
from synthctx_data.errors import UsageError, require_choice
from synthctx_data.files import whole, write_json, write_text
from synthctx_data.metrics import answer_recall, citation_score
from synthctx_data.row_checks import cites, documents_of
from training import run_folder
from training.answer_scores import depth, mean
from training.answer_text import first_of_answer
from training.chosen_heads import RANKING
from training.generate import ends
from training.identity import identify
from training.model import load_for_reading
from training.plots import depths, saved
from training.turns import shared_prefix

_WORD = re.compile(r"[A-Za-z0-9]")
_BRANCHES = 16  # the most questions on one context that are read at once


def find_heads(options: DetectOptions) -> HeadScores:
    """The scores of a model's heads on a data set. They and their figures are also written into the folder `output`.

    Raises: UsageError if model or data cannot be loaded; ConflictError if the folder holds the scores of another run.
    """
    output = scores_folder(options)
    rows = list(load_rows(parse_variant_address(options.data), options.split, options.limit))
    run = {**options.decisive(), **identify(options)}
    run_folder.is_finished(output, run, holding="rows/*")
    missing = [i for i, row in enumerate(rows) if not _is_kept(_file(output, i), row["id"])]
    if missing:
        model, tokenizer = load_for_reading(options)
        run_folder.record(output, {**run, "kv_heads": kv_heads(model)})
        (output / "rows").mkdir(exist_ok=True)
        scored = score_rows(
            model, tokenizer, [rows[i] for i in missing], options.score, options.calibrate, options.span
        )
        for i, one in zip(missing, with_progress(scored, "scoring heads", len(missing)), strict=True):
            _keep(_file(output, i), one)
    about = {name: value for name, value in run_folder.read(output).items() if name not in run_folder.NOT_DECISIVE}
    kept = [_kept(_file(output, i)) for i in range(len(rows))]
    heads = HeadScores.of(kept, about, list(map(documents_of, rows)))
    write_scores(heads, output)
    draw_scores(heads, rows, options, output)
    run_folder.record(output, about, finished=True)
    return heads


def scores_folder(options: DetectOptions) -> Path:
    """The folder of the scores: `output`, or else one named after model, data, split and score."""
    return Path(options.output) if options.output else run_folder.default_folder("heads", options, options.score)


def score_rows(
    model: Any,
    tokenizer: Tokenizer,
    rows: Sequence[dict[str, Any]],
    score: ScoreName = "wu",
    calibrate: bool = True,
    span: Span = "needle",
) -> Iterator[Scored]:
    """The scores of each row, in order. Consecutive rows that share their documents are read together.

    The model is in evaluation while it is scored. Raises: UsageError if a row has more tokens than the model reads, or if there is no
    such score or span.
    """
    require_choice("score", score, ScoreName)
    require_choice("span", span, Span)
    if score == "qrhead" and not calibrate:
        raise UsageError("--no-calibrate: qrhead is always calibrated; take --score mass")
    window = getattr(transformers_model(model).config.get_text_config(), "max_position_embeddings", None)
    encoded = ((row, tokens_of(tokenizer, row, span)) for row in rows)
    for group in _groups(encoded, window, 1 if one_at_a_time(model) else _BRANCHES):
        with evaluating(model):
            scored = _score(model, tokenizer, group, score, calibrate, span)
        yield from scored


def _score(
    model: Any, tokenizer: Tokenizer, group: "Group", score: ScoreName, calibrate: bool, span: Span
) -> list[Scored]:
    questions = [question for _, question in group]
    calibrated = score == "qrhead" or (score == "mass" and calibrate)
    nothing = [neutral(tokenizer, row, span) for row, _ in group] if calibrated else []
    if score == "wu":
        rows = {question.id: row for row, question in group}
        return wu(model, questions, ends(model, tokenizer), _judge(tokenizer, rows))
    if score == "wu_forced":
        return wu_forced(model, questions)
    if score == "logit":
        return logit(model, questions)
    if score == "mass":
        return mass(model, questions, nothing)
    if score == "qrhead":
        return qrhead(model, questions, nothing)
    return [causal(model, question, score) for question in questions]


Group = list[tuple[dict[str, Any], Tokens]]


def _groups(encoded: Iterable[tuple[dict[str, Any], Tokens]], window: int | None, most: int) -> Iterator[Group]:
    group: Group = []
    for row, question in encoded:
        if window is not None and len(question.ids) > window:
            raise UsageError(
                f"{question.id} has {len(question.ids)} tokens under this tokenizer, and the model reads {window}; raise --max-tokens, "
                "or, for an adapter, take data that were built for its context"
            )
        if group and (len(group) == most or not _on_one_context(group[0][1], question)):
            yield group
            group = []
        group.append((row, question))
    if group:
        yield group


def _on_one_context(first: Tokens, second: Tokens) -> bool:
    ends = {question.documents[-1].stop for question in (first, second)}
    return len(ends) == 1 and shared_prefix(first.ids, second.ids) >= ends.pop()


def _judge(tokenizer: Tokenizer, rows: dict[str, dict[str, Any]]) -> Callable[[Tokens, list[int]], int | None]:
    """A function that finds the first token of a right answer behind its thoughts, and None in a wrong one.

    An answer is right if it holds more than half of a right answer's words (ROUGE-1 recall, as in Wu et al.'s code) or citations.
    """
    from rouge_score.rouge_scorer import RougeScorer

    rouge = RougeScorer(["rouge1"], use_stemmer=True)

    def judge(question: Tokens, tokens: list[int]) -> int | None:
        row, first = rows[question.id], first_of_answer(tokenizer, tokens)
        text = tokenizer.decode(tokens[first:], skip_special_tokens=True)
        if cites(row):
            recall = citation_score(text, row["completion"][0]["content"]).recall
        else:
            recall = max(_recall(rouge, answer, text) for answer in row["answers"])
        return first if recall > 0.5 else None

    return judge


def _recall(rouge: Any, answer: str, text: str) -> float:
    """The share of an answer's words that the text has. ROUGE knows ASCII words only."""
    return rouge.score(answer, text)["rouge1"].recall if _WORD.search(answer) else answer_recall(text, [answer])


def kv_heads(model: Any) -> int:
    """The number of key-value heads of each layer."""
    text = transformers_model(model).config.get_text_config()
    return int(getattr(text, "num_key_value_heads", None) or text.num_attention_heads)


def _file(output: Path, row: int) -> Path:
    return output / "rows" / f"{row:06}.npz"


def _keep(file: Path, one: Scored) -> None:
    with whole(file) as aside, aside.open("wb") as content:
        np.savez(content, id=one.id, total=one.total, steps=one.steps, needles=one.needles, ceiling=one.ceiling)


def _is_kept(file: Path, name: str) -> bool:
    """True if a file holds the scores of the row with this id. A torn file does not count."""
    try:
        return _kept(file).id == name
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return False


def _kept(file: Path) -> Scored:
    with file.open("rb") as content, np.load(content) as kept:
        return Scored(str(kept["id"]), kept["total"], kept["steps"], kept["needles"], float(kept["ceiling"]))


def write_scores(heads: HeadScores, output: Path) -> None:
    """Writes the scores and their exports into a folder."""
    heads.save(output / SCORES_FILE)
    write_json(output / RANKING, heads.ranking())
    write_text(output / "by_head.json", heads.by_head_line())
    write_json(output / "by_kv_head.json", heads.by_kv_head())


def draw_scores(heads: HeadScores, rows: Sequence[dict[str, Any]], options: DetectOptions, output: Path) -> None:
    """Draws three figures: a map of the scores, their histogram, and the highest heads' scores by the depth of the needles."""
    title = f"{options.adapter or options.model}\n{options.data}"
    with saved(output / "heatmap", map_size(heads), title) as axes:
        heatmap(heads, axes)
    with saved(output / "histogram", (4, 2.8), title) as axes:
        histogram(heads, axes)
    retrieving = [head for head in heads.top(options.top) if heads.values[head] > 0] or heads.top(1)
    layers, numbers = np.array(retrieving).T
    of_row = dict(zip(heads.ids, heads.examples[:, layers, numbers].mean(1).tolist(), strict=True))
    groups: dict[str, list[tuple[float, str]]] = {}
    for row in rows:
        if row["id"] in of_row:
            groups.setdefault(depth(row), []).append((of_row[row["id"]], documents_of(row)))
    means = {}
    for name in sorted(groups):
        scores, contexts = zip(*groups[name], strict=True)
        means[name] = mean(scores, 1000, ("heads", name), contexts)
    with saved(output / "depth", (4.4, 3), title) as axes:
        depths(means, f"{options.score}, mean of {len(layers)} heads", axes)


def show_heads(heads: HeadScores, top: int, output: Path) -> None:
    """Prints a table of the `top` highest heads."""
    low, high = heads.intervals()
    rows = [(*head, f"{heads.values[head]:.3g}", f"[{low[head]:.3g}, {high[head]:.3g}]") for head in heads.top(top)]
    out.print(table(dict.fromkeys(("layer", "head", str(heads.about["score"]), "95 %"), "right"), rows))
    out.print(f"{heads.about['counted']} of {heads.about['asked']} rows count{_counting(heads)}", soft_wrap=True)
    ceiling = heads.about.get("ceiling", 1.0)
    if ceiling < 1:
        out.print(
            f"a head could score {ceiling:.3g} at most: the other tokens of the answers stand in no needle under this tokenizer",
            soft_wrap=True,
        )
    out.print(
        f"{output}: {SCORES_FILE}, {RANKING}, by_head.json, by_kv_head.json, heatmap, histogram, depth", soft_wrap=True
    )


def _counting(heads: HeadScores) -> str:
    return ": those that the model answers" if heads.about["score"] == "wu" else ""
