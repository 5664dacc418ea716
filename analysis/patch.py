"""Patches heads of a donor into a recipient: python analysis/patch.py --adapter runs/... --donor-adapter runs/... --data ..."""

from analysis.options import PatchOptions
from synthctx_data.command import run, script

_HELP = """\
Patches heads of a donor model into a recipient, and measures its F1.

For example:
  python analysis/patch.py --adapter runs/symbolic --heads heads/symbolic \\
      --donor-adapter runs/real --donor-heads heads/real \\
      --data synthctx/mdqa_synth:real_haystack
  python analysis/patch.py ... --positions answer
"""
_NOTES = """\
--adapter (or --model) is the recipient. Heads of the donor are put into it:
what is patched is the output of a head, before the output projection.
--positions says at which tokens: those of the answer (from the last token of
the prompt on), the question, the needles, or all. The paper does not say at
which, so name yours where you report numbers.

Heads that are patched:
  intersect   heads among the --top heads of both models (a head that scores
              nothing is no retrieval head)
  complement  heads of the donor that are not among the recipient's
  random      as many as intersect, of all other heads

Two LoRA adapters on one model run as a twin batch in one forward pass; two
models read side by side.

The folder --output gets the answers under each condition, patch.json, and a
figure as SVG and PNG. Called again, the same command asks for no answer
twice.
"""


def main(options: PatchOptions, _: str) -> None:
    """Patches heads, and prints the F1 under each condition."""
    from analysis.engine.patch import patch_folder, patch_heads, show_patching

    show_patching(patch_heads(options), patch_folder(options))


app = script("patch", PatchOptions, main, _HELP, _NOTES)

if __name__ == "__main__":
    run(app)
