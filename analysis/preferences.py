"""Pairs a model's answers with those that it gives without its retrieval heads: python analysis/preferences.py --model ..."""

from analysis.options import PreferencesOptions
from synthctx_data.command import run, script

_HELP = """\
Pairs a model's answers with those that it gives without its retrieval heads
(RetMask), as a preference set for DPO.

For example:
  python analysis/preferences.py --model models/smollm2 \\
      --data synthctx/mdqa_synth:real_haystack --heads heads/smollm2 --top 10
  python training/dpo.py --model models/smollm2 \\
      --pairs preferences/.../preferences.jsonl
"""
_NOTES = """\
Of each row, "chosen" is what the model answers, and "rejected" what it
answers without the --top highest heads. No right answer is needed. Rows whose
two answers are the same are left out.

The folder --output gets preferences.jsonl (with columns as TRL's DPOTrainer
takes them), preferences.json (the heads, and F1 with and without them), and
all answers. Called again, the same command answers only what has no answer
yet.

Source: RetMask (Ma and Okazaki 2026, arXiv 2601.11020).
"""


def main(options: PreferencesOptions, _: str) -> None:
    """Makes a preference set, and says what is in it."""
    from analysis.engine.preferences import make_preferences, show_preferences

    show_preferences(make_preferences(options))


app = script("preferences", PreferencesOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
