"""synthctx list"""

from builders import TASKS
from builders.commands.tables import grid, variants_as_json
from synthctx_data.command import AsJson, out, print_json


def list_variants(
    *,
    json: AsJson = False,
) -> None:
    """Prints the tasks and their variants."""
    if json:
        print_json(variants_as_json(TASKS.values()))
        return
    out.print(grid(TASKS.values()))
    out.print("A real variant has at most as many examples as its corpus has questions: see --train and --validation.")
    out.print(
        "Build:  synthctx build mdqa_synth templated_haystack symbolic_haystack --max-tokens 4096", soft_wrap=True
    )
