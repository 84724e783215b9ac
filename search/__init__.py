"""Hyperparameter search: trials, studies, ensembles, evaluation, champions, the command line."""
