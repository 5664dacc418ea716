"""`python -m builders` is `synthctx`."""

from builders.commands import main

main()
