"""Runs networks that others trained: programs from untrusted files, torchaudio pipelines."""
