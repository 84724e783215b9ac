"""The ledger: the database of all studies, leases, Optuna's trials, and the prediction bank."""
