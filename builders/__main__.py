"""`python -m builders` is `synthctx`."""

from builders.cli import main

main()
