"""The search for a recipe: which construction of synthetic data comes nearest to real data."""
