"""Adds a model to the atlas of heads: python analysis/add_to_atlas.py --model models/smollm2 --name smollm2-135m --data ..."""

from analysis.options import AtlasOptions
from synthctx_data.command import run, script

_HELP = """\
Scores all heads of a model by all scores, at several numbers of tokens, for
the atlas of heads in analysis/atlas.

For example:
  synthctx build mdqa_synth real_haystack --max-tokens 1024 --questions 5 \\
      --tokenizer models/smollm2 --train 0 --validation 20 \\
      --corpus tests/data/nq-open-oracle-500.jsonl.gz --output atlas/1024
  python analysis/add_to_atlas.py --model models/smollm2 --name smollm2-135m \\
      --data atlas/1024/mdqa_synth:real_haystack
"""
_NOTES = """\
The atlas gets MODEL/SCORE/TOKENS.safetensors, a picture, and a page that says
which rows the scores are from and which command made them. They are read by
HeadScores.load("atlas:smollm2-135m/logit/1024"), and by --heads of
analysis/knockout.py and others. Called again, the same command goes on where
it stopped. Give all lengths in one call: a page is of one call.
"""


def main(options: AtlasOptions, _: str) -> None:
    """Adds a model to the atlas, and prints its folder."""
    from analysis.engine.atlas import add_model

    print(add_model(options))


app = script("add_to_atlas", AtlasOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
