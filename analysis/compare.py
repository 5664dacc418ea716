"""Compares the heads of models with each other and with their F1: python analysis/compare.py --heads real=heads/real ..."""

from pathlib import Path

from analysis.options import CompareOptions
from synthctx_data.command import run, script

_HELP = """\
Compares the heads of models with each other, and with how well the models do.

For example:
  python analysis/compare.py --reference real \\
      --heads real=heads/real symbolic=heads/symbolic
  python analysis/compare.py --reference real \\
      --heads real=heads/real symbolic=heads/symbolic \\
      --f1 symbolic=evaluations/symbolic
"""
_NOTES = """\
Measures against the --reference, each with its 95 % interval over resampled
rows:
  recall@K     the share of the reference's K highest heads that are among
               the model's K highest (a head that scores nothing never is)
  recall@>=T   the share of its heads with a score of T or more that have one
               in the model. Sets of heads then differ in size.
  recall@>0    the same for any score above 0
  overlap@K    heads among both K highest, divided by heads among either
               (Jaccard)
  cosine       of the score vectors
  spearman     of the scores of all heads, with a permutation p-value

With --f1 of three variants or more, every measure is correlated with F1 over
all variants but the reference's: Spearman, Kendall and Pearson, with n,
interval and permutation p-value (all orders are tried up to 7 variants).
Seeds are no variants of their own: name them VARIANT/SEED, and their means
are taken. Many p-values are tested at once, so "corrected" (Holm) is the one
to quote, unless one measure was chosen before the scores were seen.

All scores must be of one kind (--score of analysis/detect.py). The folder
--output gets compare.json, models.csv, correlations.csv, and as SVG and PNG
the overlap, cosine and Spearman's correlation of every two models, and F1
against recall and cosine.
"""


def main(options: CompareOptions, _: str) -> None:
    """Compares the heads of models, and prints the measures."""
    from analysis.engine.compare import compare, show_comparison

    show_comparison(compare(options), Path(options.output))


app = script("compare", CompareOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
