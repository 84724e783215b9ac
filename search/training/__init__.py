"""What a worker runs: one training run, without Ray and without Optuna."""
