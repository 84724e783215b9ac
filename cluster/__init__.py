"""Distributed execution of trials, on this machine or a Ray cluster; knows no audio, no Optuna."""
