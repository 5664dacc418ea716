"""Traces where heads look while a model answers: python analysis/trace.py --adapter runs/... --data ... --heads ..."""

from analysis.options import TraceOptions
from synthctx_data.command import run, script

_HELP = """\
Traces where the highest heads look in a row, for each token of the answer.

For example:
  python analysis/trace.py --model models/smollm2 --heads heads/smollm2 \\
      --data synthctx/mdqa_synth:real_haystack
  python analysis/trace.py --model models/smollm2 --heads heads/smollm2 \\
      --data synthctx/mdqa_synth:real_haystack --rows 7 12 --output traced
  python analysis/report.py traced
"""
_NOTES = """\
Each row is read twice: with the model's own answer behind it, and with the
right answer. While the model writes a token, a head spreads an attention of 1
over all tokens before it. The file keeps the 64 tokens of the prompt that get
most, and the share that lies on the needles. What is missing to 1 lies on
other tokens: often on the very first one, where heads rest.

The folder --output gets trace.json, which analysis/report.py draws on the
text, and the answers. Called again, the same command traces only rows that
were not traced yet, and other --rows come to those in the file. Another number
of heads (--top) begins it anew.
"""


def main(options: TraceOptions, _: str) -> None:
    """Traces heads, and prints how much of their attention is on the needles."""
    from analysis.engine.trace import show_traces, trace_folder, trace_heads

    show_traces(trace_heads(options), trace_folder(options))


app = script("trace", TraceOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
