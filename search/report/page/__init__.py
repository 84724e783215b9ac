"""The report as one page: what was gathered, drawn and written into templates."""
