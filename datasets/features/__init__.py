"""One file, one feature set: a frozen `Config`, a `VERSION` and `extract(waveform, config)`.

`waveform` is mono float32 `(n_samples,)` at `config.sample_rate`; the result is float32
`(n_bins, n_frames)`, or `(n_features,)` for a set that describes a whole track by one vector.
"""
