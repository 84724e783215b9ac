"""Whatever alters or works around PyTorch and Lightning, and only here."""
