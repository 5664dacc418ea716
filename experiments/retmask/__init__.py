"""What RetMask gives in miniature: tuning on a model's answers with and without its retrieval heads."""
