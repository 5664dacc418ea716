"""Tools that find, compare, knock out and patch retrieval heads, and rank training data by them."""
