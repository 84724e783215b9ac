"""The sentences of the report page that no synthetic study covers."""

import pytest

from chorale.search.report.page import sentences


@pytest.mark.parametrize(
    ("temperature", "text"),
    [
        (0.75, "Temperature scaling (T = 0.75) raises the confidence."),
        (1.5, "Temperature scaling (T = 1.50) lowers the confidence."),
        (1, "did not improve the probabilities on held-out groups"),
    ],
)
def test_calibration_gives_the_effect_of_the_temperature(temperature: float, text: str) -> None:
    before, after = {"ece": 0.116, "log_loss": 0.311}, {"ece": 0.047, "log_loss": 0.257}
    part = {"before": before, "after": after}
    one = {"temperature": temperature, "test": part, "out_of_fold": part}
    found = sentences.calibration_text({"calibration": one})
    assert text in found
    assert ("from 0.116 to 0.047" in found) == (temperature != 1)


def test_optimism_is_signed_and_zero_has_no_sign() -> None:
    over = {"validation": 0.0301, "out_of_fold": -0.0001}
    found = sentences.optimism_text({"ensemble": {"optimism": over}, "test_looks": 2})
    assert "of the selected ensemble: +3.0 points; out-of-fold minus test: 0.0 points." in found
    assert "The test set has been evaluated 2 times" in found


@pytest.mark.parametrize(
    ("ci95", "text"),
    [
        ([0.01, 0.05], "ensemble +3.0 (+1.0 to +5.0)"),
        ([-0.01, 0.07], "ensemble +3.0 (-1.0 to +7.0), not significant"),
        ([0.0, 0.0], "no difference to the ensemble"),
    ],
)
def test_a_tile_gives_the_gain_and_whether_it_is_significant(ci95: list[float], text: str) -> None:
    scores = {"kind": "greedy", "test": {"accuracy": 0.8, "ci95": [0.7, 0.9]}}
    found = {
        "ensemble": scores,
        "best_single": {**scores, "members": [1]},
        "baselines": {},
        "gains": {"best_single": {"difference": 0.03, "ci95": ci95}},
    }
    assert [tile.detail for tile in sentences.score_tiles(found)][1] == text
