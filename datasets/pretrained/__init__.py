"""Pretrained encoders on this machine: which there are, and how their weights get here."""
