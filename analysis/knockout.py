"""Knocks out heads and measures the F1 that is left: python analysis/knockout.py --adapter runs/... --heads heads/... --data ..."""

from analysis.options import KnockoutOptions
from synthctx_data.command import run, script

_HELP = """\
Knocks out heads and measures the F1 that is left.

For example:
  python analysis/knockout.py --adapter runs/smollm2_mdqa_real \\
      --data synthctx/mdqa_synth:real_haystack --heads heads/smollm2 \\
      --top 5 10 --controls same
  python analysis/knockout.py --adapter runs/smollm2_mdqa_real \\
      --data synthctx/mdqa_synth:real_haystack --heads heads/smollm2 --mode edge
"""
_NOTES = """\
Modes:
  zero     a head puts out nothing
  mean     it puts out its mean over the prompts of the first rows
  uniform  it attends to everything alike, as in Wu et al.'s code
  edge     it does not see the needles, and attends to the rest as before

Controls: for each of the numbers --top, as many random heads are knocked out of
the same layers, of layers without any of the highest heads, and of all layers.
No control head is among the first max(--top) heads. If random heads cost as
much F1, the drop says nothing about retrieval. Where there are not enough such
heads, the point is left out. By default the rows are answered ten times for
each number: once without the highest heads, and three times for each control.

The folder --output gets the answers under each condition, knockout.json, and
the curves as SVG and PNG. Called again, the same command asks for no answer
twice; a larger --top, --seeds or --limit asks for what is missing.
"""


def main(options: KnockoutOptions, _: str) -> None:
    """Knocks out heads, and prints the F1 that is left."""
    from analysis.engine.knockout import knock_out, knockout_folder, show_knockout

    show_knockout(knock_out(options), knockout_folder(options))


app = script("knockout", KnockoutOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
