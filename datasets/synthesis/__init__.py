"""Synthetic music generator: ten genres by rules, so that Chorale runs without a download.

`datasets.catalog.synthetic` makes audio files and a track table from it.
"""

SAMPLE_RATE = 22_050
