"""Pickles what goes to the processes that train, and comes back from them."""

import pickle
import sys
from typing import Any

MAIN_SCRIPT = b"__main__"
"""In a pickle: another process has another main script, so what is of it has to travel along."""


def pickled(value: Any) -> bytes:
    """`value`, also where its type or function is a script's own, which only cloudpickle can send.

    That is Ray's, whose import takes seconds; where Ray is in use anyway it is asked at once.
    """
    if "ray.cloudpickle" not in sys.modules:
        try:
            found = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError):
            found = b""
        if found and MAIN_SCRIPT not in found:
            return found
    from ray import cloudpickle

    by_value: bytes = cloudpickle.dumps(value)
    return by_value
