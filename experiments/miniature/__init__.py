"""The paper in miniature: bases, data, tuning, heads and report in one command."""
