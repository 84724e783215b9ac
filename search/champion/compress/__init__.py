"""Makes a champion small: teacher, student, pruning, latency, and the table of all variants."""
