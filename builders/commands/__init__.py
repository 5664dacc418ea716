"""The `synthctx` command: a file here for each of its commands, imported when it is called."""

import sys

from synthctx_data import __version__
from synthctx_data.command import command_line, run

app = command_line(
    "synthctx",
    "Synthetic long-context data sets: list what there is, build it, look at it, check it, publish it.\n\n"
    "  synthctx build mdqa_synth symbolic_haystack --max-tokens 4096\n"
    "  synthctx show synthctx/mdqa_synth:symbolic_haystack",
    version=f"synthctx {__version__}",
)
app.command("builders.commands.list:list_variants", name="list")
for name in ("build", "show", "check", "push"):
    app.command(f"builders.commands.{name}:{name}", name=name)
app.command("builders.commands.answers:app", name="answers")


def main() -> None:
    """Runs the command line; an error is one line on standard error, and exit code 2 (usage) or 1."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["push"]:  # whose options of a build stood behind a -- in earlier versions
        arguments = [word for word in arguments if word != "--"]
    run(app, arguments)
