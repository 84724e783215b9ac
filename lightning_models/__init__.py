"""Architectures, the data pipeline, and training and inference of one network."""
