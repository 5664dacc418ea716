"""Benchmarks that others published, as rows that `evaluate.py` asks and scores: ruler, babilong, nolima, mrcr, longbench and helmet."""
