"""The ensemble protocol, cross-fitting on out-of-fold rows, and fitted ensembles on disk."""
