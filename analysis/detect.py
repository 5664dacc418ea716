"""Finds the retrieval heads of a model on a data set: python analysis/detect.py --adapter runs/... --data ..."""

from analysis.options import DetectOptions
from synthctx_data.command import run, script

_HELP = """\
Finds the retrieval heads of a model on a data set.

For example:
  python analysis/detect.py --adapter runs/smollm2_mdqa_real \\
      --data synthctx/mdqa_synth:real_haystack --output heads/smollm2
  python analysis/detect.py --model models/smollm2 --score wu_forced \\
      --data synthctx/mdqa_synth:real_haystack
"""
_NOTES = """\
Scores of a head:
  wu         the tokens that the head copies from a needle while the model
             answers, divided by those of the right answer (Wu et al. 2024,
             as in the paper). Rows that the model does not answer do not
             count, nor do thoughts.
  wu_forced  the same for the right answer, whatever the model would say
  mass       its attention from the question on the needles, minus that from
             the question N/A; with --no-calibrate in [0, 1]
  qrhead     the same attention as QRHead sums it: from all tokens behind the
             documents, on the needles' documents, without outliers
  logit      what it adds to the answer's logits from the needles, minus what
             it adds from all others, scaled to as many tokens (LOCOS)
  edge       the log-probability (in nats) that the answer loses if only this
             head does not see the needles
  ablate     the log-probability that the answer loses without this head:
             necessity, not retrieval

A needle of a real variant is a whole passage. --span sentence counts only
the sentence that states the answer, which is nearest to Wu et al.'s code.
Where the tokenizer writes an answer in other tokens than the needle, no head
can copy them: the highest possible score is said where it is below 1.

The folder --output gets
  heads.safetensors  scores by row, by token of the answer, and by needle
  heads.json         all heads ranked, with intervals, and what was scored
  by_head.json, by_kv_head.json    for tools that compress caches
  heatmap, histogram, depth        figures, as SVG and PNG
Called again, the same command scores only rows that have no scores yet.
"""


def main(options: DetectOptions, _: str) -> None:
    """Scores the heads of a model, and prints the highest."""
    from analysis.engine.detect import find_heads, scores_folder, show_heads

    show_heads(find_heads(options), options.top, scores_folder(options))


app = script("detect", DetectOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
