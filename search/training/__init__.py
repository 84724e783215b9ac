"""The training run of one trial, as a worker executes it: no Ray, no Optuna."""
