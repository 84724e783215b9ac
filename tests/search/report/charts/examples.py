"""One chart of each kind, with names as a hostile folder or a file system may give them."""

from chorale.search.report.charts.accuracy_by_split import SplitAccuracies, accuracy_by_split
from chorale.search.report.charts.architectures import architectures
from chorale.search.report.charts.bars import BarRow, bars
from chorale.search.report.charts.best_so_far import best_so_far
from chorale.search.report.charts.confusion import confusion
from chorale.search.report.charts.curves import Curve, curves
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.charts.history import HistoryPoint, history
from chorale.search.report.charts.parallel import Axis, TrialLine, parallel
from chorale.search.report.charts.pareto import ParetoPoint, pareto
from chorale.search.report.charts.reliability import ReliabilityBin, ReliabilityPanel, reliability
from chorale.search.report.charts.trend import NightMark, trend
from chorale.search.report.charts.trial import TrialMark

ODD = "<script>alert('x')</script> \"& \x00\udc80"

TRIALS = [
    TrialMark(0, "COMPLETE", 0.5, ODD, "lr 0.1"),
    TrialMark(1, "PRUNED", 0.2, ODD, ODD),
    TrialMark(2, "FAIL", None, "b", "lr 1", ODD),
    TrialMark(3, "COMPLETE", 0.7, "b"),
]
VALUED = [one for one in TRIALS if one.value is not None]

EVERY = {
    "architectures": architectures({ODD: VALUED[:2], "b": VALUED[2:]}, objective=ODD),
    "bars": bars([BarRow(ODD, 0.5, ODD, rest=0.1), BarRow("none", 0.0, "0")], key="k", title=ODD),
    "best_so_far": best_so_far({ODD: [None, 0.5, 0.7], "b": [], "c": [0.7]}, objective=ODD),
    "confusion": confusion([[3, 1], [0, 0]], [ODD, "b"], key="test"),
    "curves": curves(
        {
            ODD: [
                Curve(TRIALS[0], [(1, 0.4), (2, 0.45), (3, 0.5)], best=True),
                Curve(TRIALS[1], [(1, 0.2)]),
            ],
            "b": [Curve(TRIALS[2], [(1, 0.1), (2, 0.2)]), Curve(TRIALS[3], [(1, 0.7)])],
        },
        objective=ODD,
    ),
    "forest": forest(
        [Estimate(ODD, 0.5, 0.4, 0.6, "chosen"), Estimate("b", 0.5, 0.5, 0.5, "baseline", ODD)]
    ),
    "history": history([HistoryPoint(one, one.number == 3) for one in TRIALS], objective=ODD),
    "parallel": parallel(
        [
            TrialLine(VALUED[0], {"a": ODD, "b": 1e-3}),
            TrialLine(VALUED[1], {"a": "x", "b": None}),
            TrialLine(VALUED[2], {"a": "x", "b": 1e-2}),
        ],
        [Axis("a", ODD), Axis("b", "b", log=True)],
        key="k",
        objective=ODD,
    ),
    "pareto": pareto(
        [ParetoPoint(VALUED[0], 10.0, True), ParetoPoint(VALUED[2], 1e4, False)],
        objective=ODD,
        second=ODD,
    ),
    "reliability": reliability(
        [ReliabilityPanel(ODD, [ReliabilityBin(0.5, 0.4, 3)], [ReliabilityBin(0.6, 0.4, 3)])]
    ),
    "accuracy_by_split": accuracy_by_split(
        [SplitAccuracies(ODD, None, 0.5, 0.5, ODD), SplitAccuracies("b", 0.7, 0.6, 0.6)]
    ),
    "trend": trend(
        [
            NightMark("2026-11-02", "PROMOTED", (0.6, 0.5, 0.7), 0.6, 0.5, ODD),
            NightMark("2026-11-03", "MISSED", None, None, None, ""),
            NightMark("2026-11-04", "INCONCLUSIVE", (0.6, 0.5, 0.7), 0.65, 0.25, ODD),
        ]
    ),
}
"""The name of the file of a chart -> a chart."""
