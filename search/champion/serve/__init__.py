"""A bundle behind HTTP: an ASGI app for programs, and a page for people."""
