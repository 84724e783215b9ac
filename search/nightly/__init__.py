"""Nightly runs: schedule, data checks, sweep, champion/challenger comparison, reports."""
