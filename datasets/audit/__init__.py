"""Finds what no model should learn from: bad, duplicate and leaking tracks."""
