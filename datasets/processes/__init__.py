"""Child processes with limits: a hostile file costs one of them, not the caller.

`process` starts and ends one, `limits` is what it sets for itself, `messages` is what they send.
"""
