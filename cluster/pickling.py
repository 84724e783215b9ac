"""Pickling of what is sent to worker processes and back."""

import pickle
import sys
from typing import Any

MAIN_SCRIPT = b"__main__"
"""In a pickle: something of the main script, which another process cannot import."""


def pickle_value(value: Any) -> bytes:
    """Pickles `value`, with cloudpickle if it holds a type or function of the main script.

    cloudpickle is Ray's copy, whose import takes seconds; it is used at once if already imported.
    """
    if "ray.cloudpickle" not in sys.modules:
        try:
            pickled = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError):
            pickled = b""
        if pickled and MAIN_SCRIPT not in pickled:
            return pickled
    from ray import cloudpickle

    by_value: bytes = cloudpickle.dumps(value)
    return by_value
