"""Fine-tuning attention heads on synthctx data sets, and evaluating what came out."""
