"""Playlist order: no artist twice in a row where that is possible."""

from collections import Counter, deque
from collections.abc import Hashable, Sequence


def spread_out(artists: Sequence[Hashable]) -> list[int]:
    """Positions in a new order, as close to the given one as the rule allows.

    An artist with more than half of the remaining tracks must come next, or it would come twice in
    a row later; else the first remaining track of another artist comes next.
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
