"""What tuning on made-up data does to a real model's scores on benchmarks of others."""
