"""Folders of a user's files: what is in them, how they are laid out, and what is not read."""
