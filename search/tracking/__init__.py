"""Experiment trackers: a study's runs, written from its ledger, each exactly once."""
