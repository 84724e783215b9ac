"""One sweep from data to report, and the workers that it runs on."""
