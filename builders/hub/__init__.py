"""Data sets on a Hub: repository, publishing, versions, and the card."""
