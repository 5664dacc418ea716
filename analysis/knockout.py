"""Knocks out heads and looks what is left of the F1: python analysis/knockout.py --adapter runs/... --heads heads/... --data ..."""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script from a checkout

try:
    from analysis.config import KnockoutOptions
    from training.cli import errors_in_one_line, parse
except ModuleNotFoundError as error:
    sys.exit(
        f"knockout: expected {error.name}, which is not installed; pip install -c constraints.txt -e '.[analysis]'"
    )

EPILOG = """\
modes:
  zero     a head puts out nothing
  mean     it puts out its mean over the first rows' prompts
  uniform  it attends to everything alike, as in Wu et al.'s code
  edge     it does not see the needles, and attends to the rest as before

Each of the numbers --top is set against as many random heads of the same layers, of layers without any of them, and of all layers, none
of them among the highest that are knocked out at all: a drop that random heads bring as well says nothing about retrieval. Where
there are not enough such heads, that point is left out. --exclude-layers takes layers out of the controls without which nothing
works. The rows are answered once for each number, and for each control and seed: 10 times a number by default.

example:
  python analysis/knockout.py --adapter runs/tiny_mdqa_symbolic_padding --data synthctx/mdqa_synth:symbolic_padding \\
      --heads heads/tiny_mdqa_symbolic_padding/synthctx_mdqa_synth_symbolic_padding_validation_wu --top 1 2 4

The folder --output gets the answers under each condition, knockout.json, and the curves as SVG and PNG. Called again, the same command asks
for no answer twice; more --top, --seeds or --limit ask for what is missing.
"""


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other
    with errors_in_one_line("knockout"):
        options, _ = parse(
            KnockoutOptions, sys.argv[1:], "Knocks out heads and measures what is left of the F1.", EPILOG
        )

        from analysis.knocking import folder, knock_out, show

        show(knock_out(options), folder(options))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
