"""Tasks of evaluation harnesses, so that each asks a model the rows of a data set and scores answers as training/evaluate.py does."""
