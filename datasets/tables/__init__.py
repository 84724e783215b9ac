"""Readers of tables that describe tracks: CSV, Parquet, manifests, published metadata."""
