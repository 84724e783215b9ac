"""Loaders of pretrained audio encoders whose embeddings are features."""
