"""Ray Serve deployment of an ASGI app as replicas."""
