"""From predictions to scores: members, ensembles, and the one look at the test set."""
