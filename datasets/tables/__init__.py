"""Reads the tables that describe tracks: CSV, Parquet, manifests, published metadata."""
