"""Pretrained encoders: one file each, with its `INFO` and `load` (see `datasets.base.Encoder`)."""
