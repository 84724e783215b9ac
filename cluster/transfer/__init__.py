"""Moves work and files between the driver and the nodes of a cluster."""
