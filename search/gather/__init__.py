"""What the report shows, gathered from the ledger, the bank and the study's files; no drawing."""
