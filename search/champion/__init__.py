"""What the search found, in use: bundles, and what is done with them."""
