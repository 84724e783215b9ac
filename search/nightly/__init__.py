"""A sweep every night: when it is due, and what was decided in the morning."""
