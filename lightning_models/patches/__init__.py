"""Patches and workarounds for PyTorch and Lightning."""
