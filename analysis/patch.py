"""Patches heads of a donor into a recipient: python analysis/patch.py --adapter runs/... --donor-adapter runs/... --data ..."""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script from a checkout

try:
    from analysis.config import PatchOptions
    from training.cli import errors_in_one_line, parse
except ModuleNotFoundError as error:
    sys.exit(f"patch: expected {error.name}, which is not installed; pip install -c constraints.txt -e '.[analysis]'")

EPILOG = """\
--adapter (or --model) is the recipient, and the donor's heads are put into it. What is patched is what heads put out, before the
output projection, at --positions: in the answer (from the last token of the prompt on), the question, the needles, or all
tokens. The paper does not say at which; so say it where you report numbers.

heads that are patched:
  intersect   those among the --top heads of both (heads that score nothing are no retrieval heads)
  complement  those of the donor that are not among the recipient's
  random      as many as intersect, of all other heads

Two LoRA adapters on one model are run as a twin batch in one forward pass; two models read side by side.

example:
  python analysis/patch.py --adapter runs/symbolic --heads heads/symbolic --donor-adapter runs/real --donor-heads heads/real \\
      --data synthctx/mdqa_synth:real_haystack --positions all

The folder --output gets the answers under each condition, patch.json, and a figure as SVG and PNG. Called again, the same command
asks for no answer twice.
"""


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other
    with errors_in_one_line("patch"):
        options, _ = parse(PatchOptions, sys.argv[1:], "Patches heads of a donor into a recipient.", EPILOG)

        from analysis.patching import folder, patch, show

        show(patch(options), folder(options))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
