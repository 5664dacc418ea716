"""Says which data to train on, by what a short tuning does to the heads: python analysis/rank.py --model ... --data A B --target R"""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script from a checkout

try:
    from analysis.config import Ranking
    from training.cli import errors_in_one_line, parse
except ModuleNotFoundError as error:
    sys.exit(f"rank: expected {error.name}, which is not installed; pip install -c constraints.txt -e '.[analysis]'")

EPILOG = """\
Every candidate gets a short tuning of the model, and so does the target if it has a train split (a few hundred real rows will
do). Then the heads of all these models are scored on the same rows of the target. Predicted is the reach: how much of the retrieval
that tuning on the target brings a candidate brings, head by head (the score vectors' scalar product, over the reference's with
itself); 1 is as much as the target's own data, and "none" is the model with its context extended, but not tuned. Without
a train split the reference is that of the model itself.

"sure" is the share of resamples of the rows in which a candidate comes first; reach has its 95 % interval over the same. It is a
prediction: the paper found such measures to go with F1 over its variants, and a full tuning of the first two will tell.

example:
  python analysis/rank.py --model meta-llama/Meta-Llama-3-8B-Instruct --max-tokens 32768 --target synthctx/mdqa_synth:real_haystack \\
      --data synthctx/mdqa_synth:symbolic_haystack synthctx/mdqa_synth:templated_haystack

The folder --output gets adapters, scores, ranking.json and a figure. Called again, the same command goes on from what is done.
"""


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other
    with errors_in_one_line("rank"):
        options, _ = parse(Ranking, sys.argv[1:], "Says which data to train on, by the heads.", EPILOG)

        from analysis.ranking import rank, show

        show(rank(options), Path(options.output))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
