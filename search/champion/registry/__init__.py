"""Model registry: which bundle is the champion, and the gate that a candidate must pass."""
