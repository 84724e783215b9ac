"""One file, one architecture: `LAYOUTS`, a frozen `Config`, `SPACE`, `DEFAULTS` and `build`.

See `lightning_models.base` for what each of them means.
"""
