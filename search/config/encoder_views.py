"""How many views of each training track a sweep computes: `features: {encoder: {views: 4}}`.

Views belong to the training and not to the feature set, so that they are taken out of its values:
its config, its cache and whatever predicts with it do not know them.
"""

from collections.abc import Mapping
from typing import Any

from chorale.datasets.features import layout_of
from chorale.search.config.encoder_choices import ENCODER_LAYOUTS

VIEWS = "views"
"""The key beside the values of an encoder, and the name of the training parameter."""

MAX_VIEWS = 16
"""The most views of a track, the recording itself included: each costs one more extraction."""


def take_views(name: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The values of a feature set without its number of views, and this number, 1 by default.

    A feature set that is not an encoder, or joins several, keeps the key, as one that is unknown.

    Raises:
        ValueError: it is no number of views, or joined encoders differ in it.
    """
    if layout_of(name) not in ENCODER_LAYOUTS:
        return dict(values), 1
    if isinstance(parts := values.get("parts"), Mapping):
        taken = {key: take_views(key, one) for key, one in parts.items()}
        counts = {key: n for key, (_, n) in taken.items()}
        if len(set(counts.values())) > 1:
            each = ", ".join(f"{key} {n}" for key, n in counts.items())
            raise ValueError(f"should be as many for each of its parts, but got {each}")
        rest = {**values, "parts": {key: one for key, (one, _) in taken.items()}}
        return rest, max(counts.values(), default=1)
    rest = {key: value for key, value in values.items() if key != VIEWS}
    n_views = values.get(VIEWS, 1)
    if isinstance(n_views, bool) or not isinstance(n_views, int) or not 1 <= n_views <= MAX_VIEWS:
        raise ValueError(f"should be a whole number from 1 to {MAX_VIEWS}, but got {n_views!r}")
    return rest, n_views


def views_problems(
    views: Mapping[str, int],
    train: Mapping[str, Any],
    space: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """What a sweep file says of `train.views` that its features contradict.

    Args:
        views: feature set -> the number of its views, for those with several.
        train: the fixed training settings.
        space: how the file narrows the search space.
    """
    both = {"train": train, "space.train": space.get("train", {})}
    named = [f"{owner}.{VIEWS}" for owner, of in both.items() if VIEWS in of]
    if named and not views:
        return [
            f"{name}: no feature set has views; add them, such as "
            f"--features.encoder '{{name: NAME, {VIEWS}: 4}}', or leave {name} out"
            for name in named
        ]
    if views and train.get(VIEWS) is False:
        which = " and ".join(views)
        return [f"train.{VIEWS}: false leaves the views of {which} unused; remove one of them"]
    return []
