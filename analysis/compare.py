"""Compares the heads of models with each other and with how well they do: python analysis/compare.py --heads real=heads/real ..."""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script from a checkout

try:
    from analysis.config import Comparison
    from training.cli import errors_in_one_line, parse
except ModuleNotFoundError as error:
    sys.exit(f"compare: expected {error.name}, which is not installed; pip install -c constraints.txt -e '.[analysis]'")

EPILOG = """\
measures against the --reference, each with its 95 % interval over resampled rows:
  recall@K       the share of the reference's K highest heads that are among the model's (heads that score nothing never are)
  recall@>=T     the share of its heads that score T or more that do so in the model
  overlap@K      heads among both's K highest, of those among either's (Jaccard)
  cosine         of the score vectors
  spearman       of the scores of all heads, with a permutation p-value

With --f1 of three models or more, the correlation of each measure with F1 over the models but the reference: Spearman, Kendall and
Pearson, with n, interval and permutation p-value (all orders are tried up to 7 models). With few models even a strong
correlation may be chance: p says how easily.

example:
  python analysis/compare.py --reference real --heads real=heads/real symbolic=heads/symbolic templated=heads/templated \\
      --f1 symbolic=evaluations/symbolic templated=evaluations/templated

All scores must be of one kind (--score of analysis/detect.py). The folder --output gets compare.json, models.csv, correlations.csv, and as
SVG and PNG the overlap, cosine and Spearman's correlation of every two models, and F1 against recall and cosine.
"""


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other
    with errors_in_one_line("compare"):
        options, _ = parse(Comparison, sys.argv[1:], "Compares the heads of models, and their F1.", EPILOG)

        from analysis.comparison import compare, show

        show(compare(options), Path(options.output))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
