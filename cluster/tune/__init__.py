"""Ray Tune runner: runs trials on the workers of a Ray cluster."""
