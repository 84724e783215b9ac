"""Decoding of audio files to their end, whatever their headers state; used by `datasets.audio`."""
