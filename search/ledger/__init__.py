"""What the ledger is made of: tables, the database under them, who holds a study, trials."""
