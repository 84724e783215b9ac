"""One file, one feature set: a frozen `Config`, a `VERSION` and `extract(waveform, config)`.

`waveform` is mono float32 `(n_samples,)` at `config.sample_rate`; the result is float32
`(n_bins, n_frames)`, or `(n_features,)` for a set that describes a whole track by one vector.
`SPECTRAL` says whether the bins of a frame lie along a frequency axis, where neighbours say nearly
the same; the axes of an embedding, cepstral coefficients and the columns of a table do not.
"""
