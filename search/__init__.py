"""Trial, study, bank, ensemble, champion: what to try, what to keep, and how good it truly is."""
