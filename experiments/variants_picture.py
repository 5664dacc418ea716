"""Draws the two axes with an example in each cell: python experiments/variants_picture.py writes docs/variants.svg

The examples come from the builders. All have the same index, and their documents are cut to the lines of the picture.
"""

from html import escape
from pathlib import Path
from textwrap import wrap

from builders import TASKS
from builders.examples import Examples
from synthctx_data.example import Example, Span
from synthctx_data.options import Options

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "variants.svg"
CORPUS = ROOT / "tests" / "data" / "nq-open-oracle-500.jsonl.gz"
EXPRESSIONS = {
    "real": "real text",
    "grounded": "your documents",
    "llm": "text by a language model",
    "templated": "sentence templates",
    "symbolic": "keys and values",
}
_CONTEXTS = {"haystack": "varied documents", "padding": "repeated sentences"}
_INDEX = 3
_LEGEND = (
    ("needle", "the needle"),
    ("answer", "the answer"),
    ("gold", "the rest of its document"),
    ("", "its neighbours in the haystack"),
    ("ask", "the question"),
)
_COLUMNS = 62  # characters of a line in a cell
_LINES = 3  # the most lines of the document with the needle
_WIDTH, _HEIGHT, _LEFT, _TOP, _LINE = 450, 184, 118, 58, 14

_STYLE = """
text { font: 11px ui-monospace, Menlo, Consolas, monospace; fill: #57606a; }
.title { font: 600 14px system-ui, sans-serif; fill: #24292f; }
.axis { font: 12px system-ui, sans-serif; fill: #57606a; }
.gold { fill: #24292f; } .needle { fill: #116329; } .answer { fill: #116329; font-weight: 700; text-decoration: underline; }
.ask { fill: #0550ae; } rect { fill: none; stroke: #d0d7de; }
@media (prefers-color-scheme: dark) {
text, .axis { fill: #8b949e; } .title, .gold { fill: #e6edf3; } .needle, .answer { fill: #56d364; } .ask { fill: #79c0ff; }
rect { stroke: #30363d; } }
"""


def draw_variants() -> str:
    """The picture as SVG: a row for each concept expression, a column for each context diversity."""
    variants = TASKS["mdqa_synth"].variants
    parts = []
    for column, (context, means) in enumerate(_CONTEXTS.items()):
        x = _LEFT + column * _WIDTH
        parts += [_text(x, 26, "title", context), _text(x, 44, "axis", f"context diversity: {means}")]
    for row, (expression, means) in enumerate(EXPRESSIONS.items()):
        y = _TOP + row * _HEIGHT
        parts += [_text(8, y + 18, "title", expression)]
        parts += [_text(8, y + 38 + 16 * i, "axis", line) for i, line in enumerate(wrap(f"needles: {means}", 16))]
        for column, context in enumerate(_CONTEXTS):
            if f"{expression}_{context}" in variants:
                parts.append(_cell(_LEFT + column * _WIDTH, y, _example(f"{expression}_{context}")))
    width, height = _LEFT + len(_CONTEXTS) * _WIDTH, _TOP + len(EXPRESSIONS) * _HEIGHT + 20
    legend = " · ".join(f'<tspan class="{kind}">{what}</tspan>' for kind, what in _LEGEND)
    parts.append(f'<text x="{_LEFT}" y="{height - 14}">{legend} · [document / of so many]</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    return "\n".join(
        [head, "<title>The variants of mdqa_synth</title>", f"<style>{_STYLE}</style>", *parts, "</svg>\n"]
    )


def _example(variant: str) -> Example:
    corpus = (str(CORPUS),) if variant.startswith("real") else ()
    options = Options(train=20, validation=4, corpus=corpus)
    if variant.startswith(("grounded", "llm")):
        options = options.model_copy(update={"max_tokens": 4096})  # a context that the texts of the sample can fill
    return Examples(TASKS["mdqa_synth"], variant, options).make("train", _INDEX)


def _cell(x: int, y: int, example: Example) -> str:
    """A cell as SVG: the needle's document between its neighbours, then the question and the answer."""
    needle = example.needles[0]
    parts = [f'<rect x="{x - 8}" y="{y}" width="{_WIDTH - 12}" height="{_HEIGHT - 14}" rx="6"/>']
    top = y + 18
    for number in (needle.document - 1, needle.document, needle.document + 1):
        for line in _document(example, number):
            parts.append(f'<text x="{x}" y="{top}" xml:space="preserve">{line}</text>')
            top += _LINE
        top += 4
    for line in wrap(f"Question: {example.question}", _COLUMNS)[:2]:
        parts.append(_text(x, top, "ask", line))
        top += _LINE
    return "\n".join([*parts, _text(x, top, "answer", example.completion)])


def _document(example: Example, number: int) -> list[str]:
    """The lines of one document, marked up: those around the answer, or the first two if it has no needle."""
    document, needle = example.documents[number], example.needles[0]
    gold = number == needle.document
    lines = _broken(example.prompt, document)
    if gold:
        first = next(i for i, line in enumerate(lines) if line.end > needle.answer.start)
        start = max(min(first - 1, len(lines) - _LINES), 0)
    else:
        start = 0
    shown = lines[start : start + (_LINES if gold else 2)]
    marked = [_marked(example, line, gold) for line in shown]
    if shown[-1].end < document.end:
        marked[-1] += "…"
    label = f"[{number + 1}/{len(example.documents)}] "
    return [f"<tspan>{label if i == 0 else ' ' * len(label)}</tspan>{line}" for i, line in enumerate(marked)]


def _broken(text: str, span: Span) -> list[Span]:
    """The span in lines of the picture's width, broken at spaces and line ends."""
    lines, start = [], span.start
    while start < span.end:
        end = text.find("\n", start, min(start + _COLUMNS - 11, span.end))
        if end < 0:
            end = min(start + _COLUMNS - 11, span.end)
            space = text.rfind(" ", start, end)
            end = space if end < span.end and space > start else end
        lines.append(Span(start, end))
        start = end + (text[end : end + 1].isspace())
    return lines


def _marked(example: Example, line: Span, gold: bool) -> str:
    """A line as SVG, in which the needle and its answer have classes of their own."""
    needle = example.needles[0]
    bounds = (needle.span.start, needle.answer.start, needle.answer.end, needle.span.end)
    cuts = [line.start, *(min(max(cut, line.start), line.end) for cut in bounds), line.end]
    classes = ("gold", "needle", "answer", "needle", "gold") if gold else ("",) * 5
    pieces = zip(classes, cuts, cuts[1:], strict=False)
    return "".join(f'<tspan class="{kind}">{escape(example.prompt[a:b])}</tspan>' for kind, a, b in pieces if a < b)


def _text(x: int, y: int, kind: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw_variants(), encoding="utf-8")
