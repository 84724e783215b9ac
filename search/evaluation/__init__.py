"""Final evaluation: ensembles of finalists, fitted out of fold and scored once on the test set."""
