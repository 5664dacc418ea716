"""The core that the other packages share: documents, needles and examples, and how they are made. It does not import torch."""

__version__ = "0.1.0"

# The version of the rows that a configuration gives. It is raised whenever any row of any variant changes
# (tests/test_golden.py notices; CHANGELOG.md says which part to raise).
CONTENT_VERSION = "2.0.0"
