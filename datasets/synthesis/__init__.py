"""A small composer: ten genres of music made by rules, so that Chorale runs without a download.

`datasets.catalog.synthetic` turns what is composed here into files and a track table.
"""

SAMPLE_RATE = 22_050
