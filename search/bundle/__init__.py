"""Bundles: one folder with everything that inference needs, none of it pickled."""
