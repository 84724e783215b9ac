"""Decoding of containers that libsndfile does not read, by PyAV (FFmpeg) in a separate process.

`datasets.audio` opens `sound.ContainerSound`; `process` starts and replaces the decoder process,
whose program is `child` with its `limits` and `decoding`, by what `datasets.processes` offers.
"""
