"""Prometheus metrics of a running sweep, served over HTTP by the sweep's own process."""
