"""The nouns of synthctx and the functions that make examples of them; nothing here needs torch."""

__version__ = "0.1.0"

# Names the rows that a configuration gives: raised whenever any row of any variant changes (tests/test_golden.py
# holds it; CHANGELOG.md says which part of it).
CONTENT_VERSION = "1.2.0"
