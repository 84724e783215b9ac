"""Signal processing: the transforms that feature sets are made of."""
