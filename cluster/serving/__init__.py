"""An ASGI app as replicas under Ray Serve."""
