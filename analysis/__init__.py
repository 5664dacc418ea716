"""Retrieval heads: find, compare, knock out and patch them."""
