"""Classical classifiers on track statistics: what every network must beat."""
