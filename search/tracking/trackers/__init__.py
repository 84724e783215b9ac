"""One file is one tracker: `open_server(uri, experiment)` gives a `Tracker`."""
