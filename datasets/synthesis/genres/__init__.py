"""Synthetic genres: one file per genre, its musical rules as data named `GENRE`.

`datasets.synthesis.compose` loads them by file name; a new file is a new label.
"""
