"""In which order a playlist is played: no artist twice in a row, where that can be."""

from collections import Counter, deque
from collections.abc import Hashable, Sequence


def spread_out(artists: Sequence[Hashable]) -> list[int]:
    """Places in a new order, as close to the given one as the rule allows.

    An artist that has more than half of what is left must come next, or it would come twice in a
    row later; else the first one comes that is of another artist.
    """
    waiting: dict[Hashable, deque[int]] = {}
    for place, artist in enumerate(artists):
        waiting.setdefault(artist, deque()).append(place)
    left = Counter(artists)
    order: list[int] = []
    last: Hashable = None
    while len(order) < len(artists):
        n_left = len(artists) - len(order)
        most, n_most = left.most_common(1)[0]
        others = [one for one in waiting if waiting[one] and one != last]
        if 2 * n_most > n_left and most != last:
            artist = most
        else:
            artist = min(others or [last], key=lambda one: waiting[one][0])
        order.append(waiting[artist].popleft())
        left[artist] -= 1
        last = artist
    return order
