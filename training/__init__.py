"""Fine-tuning on synthctx data sets (to come)."""
