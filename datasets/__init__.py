"""Data loading: track tables, audit, feature extraction and cache, group-disjoint splits.

The lowest package: it imports no Ray, no Optuna and no Lightning. (Not the Hugging Face package of
the same name, on which this project never depends.)
"""
