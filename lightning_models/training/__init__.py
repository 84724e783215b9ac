"""Training of one network on one fold: fit, validation, resume, checkpoints, inference."""
