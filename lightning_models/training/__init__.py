"""Trains one network on one fold, saves it, resumes it, and predicts with it."""
