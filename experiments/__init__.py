"""Experiments. The rest of the project never uses them."""
