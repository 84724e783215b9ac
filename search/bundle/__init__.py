"""A bundle: one folder with everything that prediction needs, none of it pickled."""
