"""What an ensemble is, how it is fitted on out-of-fold rows, and how it is stored."""
