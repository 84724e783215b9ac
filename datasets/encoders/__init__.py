"""Pretrained networks whose embeddings are features."""
