"""The entry point of the `synthctx` command: it answers Ctrl-C in one line even while all else is imported."""

import sys


def main() -> None:
    """Runs the command line."""
    try:
        from builders.commands import main as run
    except KeyboardInterrupt:
        print("synthctx: interrupted", file=sys.stderr)
        sys.exit(130)
    run()
