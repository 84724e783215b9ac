"""The data pipeline: from one fold of a feature store to batches of crops."""
