"""Members of ensembles where the sweep file limits the cost of its model: see `limit`.

`search.evaluation.final_evaluation` calls it before anything is combined.
"""

from collections.abc import Collection, Mapping, Sequence

from chorale.search.combining.base import MemberName
from chorale.search.evaluation.members import Member
from chorale.search.ledger.ledger import Row
from chorale.search.training.model_cost import ModelLimit, NetworkCost, model_cost


def members_within(
    members: Sequence[Member], rows: Mapping[str, Row], limit: ModelLimit
) -> list[Member]:
    """The members, in their order, as far as a model of all of them together keeps to the limit.

    Each counts with all its networks. One that no longer fits is left out, and later ones that fit
    are taken. Without a measured cost, as in trials that earlier studies trained, none is taken.

    Args:
        members: finalists, best first.
        rows: the search's rows in the ledger, which hold the costs.
        limit: of the sweep.
    """
    taken: list[Member] = []
    parts: list[tuple[NetworkCost, int]] = []
    for member in members:
        more = [*parts, *_parts(member, rows)]
        if len(more) > len(parts) and limit.allows(more):
            parts = more
            taken.append(member)
    return taken


def limit_cautions(finalists: Sequence[Member], taken: Sequence[Member]) -> list[str]:
    """A line about the finalists that the limit left out of the ensembles, if any."""
    names = {member.name for member in taken}
    left_out = sorted(int(member.name) for member in finalists if member.name not in names)
    if not left_out:
        return []
    trials = ", ".join(map(str, left_out))
    return [
        f"the limit leaves out finalists {trials}: with those that are more accurate, the model "
        f"would exceed it, or their cost was not measured"
    ]


def cost_of_members(
    names: Collection[MemberName], members: Sequence[Member], rows: Mapping[str, Row]
) -> dict[str, float]:
    """The cost of a model of the members of these names, JSON-ready; that of baselines is unknown.

    `latency_ms` and `size_mb` are sums of parts: what a bundle adds to them is not among these.
    """
    used = [member for member in members if member.name in names]
    ms, mb = model_cost([part for member in used for part in _parts(member, rows)])
    return {"latency_ms": ms, "size_mb": mb}


def _parts(member: Member, rows: Mapping[str, Row]) -> list[tuple[NetworkCost, int]]:
    """A member's cost and its number of networks; empty where the cost was not measured."""
    row = rows.get(str(member.name))
    cost = None if row is None else NetworkCost.of_facts(row.facts)
    return [] if cost is None else [(cost, len(member.test_by_network))]
