"""Terminal and log output while a sweep runs: stages, trials, progress."""
