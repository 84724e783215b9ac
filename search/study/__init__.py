"""The Optuna study behind the Trials protocol: sampling, pruning, budget, retries, finalists."""
