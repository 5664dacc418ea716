"""The command `python -m builders`, which is the same as `synthctx`."""

from builders.commands import main

main()
