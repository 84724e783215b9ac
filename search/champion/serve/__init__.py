"""Model serving: a bundle behind an HTTP API (ASGI app), and a web page."""
