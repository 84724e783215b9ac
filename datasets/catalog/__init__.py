"""One file, one dataset: each turns what lies on disk into a track table (`datasets.base`)."""
