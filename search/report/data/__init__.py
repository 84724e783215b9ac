"""The data behind the report, read from the ledger, the prediction bank and files; no drawing."""
