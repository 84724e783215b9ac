"""Decoding of containers that libsndfile does not read, by PyAV (FFmpeg) in a separate process.

`datasets.audio` opens `sound.ContainerSound`; `process` starts and replaces the decoder process,
whose program is `child` with its `limits` and `decoding`; `messages` is what the two send.
"""
