"""The Optuna study behind the Trials protocol: what to try, what to stop, what to retrain."""
