"""One file is one genre: the rules of its music as data, named `GENRE`.

`datasets.synthesis.compose` loads the one it is asked for; a new file is a new label.
"""
