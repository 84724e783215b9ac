"""The report of a study: report.json, leaderboard.csv, the HTML page, TensorBoard events."""
