"""Finds the retrieval heads of a model on a data set: python analysis/detect.py --adapter runs/tiny_mdqa_symbolic_padding --data ..."""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script from a checkout

try:
    from analysis.config import Detection
    from training.cli import errors_in_one_line, parse
except ModuleNotFoundError as error:
    sys.exit(f"detect: expected {error.name}, which is not installed; pip install -c constraints.txt -e '.[analysis]'")

EPILOG = """\
scores (layer, head):
  wu         the share of the tokens of the model's own answer that a head copies from a needle (Wu et al. 2024, as the paper);
             in [0, 1]; rows that the model does not answer do not count
  wu_forced  the same of the right answer: needs no model that answers
  mass       attention from the question on the needles, less that of the question N/A (QRHead); --no-calibrate: in [0, 1]
  logit      what a head adds to the answer's logits from the needles, less what it adds from the rest; not for models that put a norm
             or a gate behind their heads, such as Gemma 2 and OLMo 2
  edge       log-probability that the answer loses if only this head does not see the needles
  ablate     log-probability that the answer loses without this head: necessity, not retrieval

examples:
  python analysis/detect.py --adapter runs/tiny_mdqa_symbolic_padding --data synthctx/mdqa_synth:symbolic_padding
  python analysis/detect.py --model models/tiny --max-tokens 1024 --score wu_forced --data synthctx/mdqa_synth:symbolic_padding

The folder --output gets heads.safetensors (by row, by token of the answer, and by needle: hops or cited documents), heads.json (what
was scored, all heads ranked, with intervals), by_head.json and by_kv_head.json (for tools that compress caches), and as SVG and PNG
heatmap, histogram and depth (the scores of the --top heads by the needles' depth). Called again, the same command scores only
rows that have no scores yet.
"""


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other
    with errors_in_one_line("detect"):
        options, _ = parse(Detection, sys.argv[1:], "Finds the retrieval heads of a model on a data set.", EPILOG)

        from analysis.detection import find, folder, show

        show(find(options), options.top, folder(options))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
