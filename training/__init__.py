"""Fine-tuning of attention heads on synthctx data sets, and evaluation of the results."""
