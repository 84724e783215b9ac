import pandas as pd

from chorale.datasets.base import NOT_READ_COLUMNS
from chorale.search.data.files import file_sum_text


def test_the_sum_counts_every_file_once() -> None:
    rows = [
        ("a/1.m4a", "m4a not read", "not read", ""),
        ("a/2.m4a", "m4a not read", "not read", ""),
        ("a/._1.wav", "AppleDouble", "ignored", ""),
        ("b", "label without a track", "no track", ""),
    ]
    unread = pd.DataFrame(rows, columns=list(NOT_READ_COLUMNS))
    counted = {"used": 4, "quarantined": 1}
    expected = "8 files: 4 tracks used, 1 track quarantined, 2 m4a not read, 1 AppleDouble"
    assert file_sum_text(unread, counted) == expected
    assert file_sum_text(unread, counted, n_elsewhere=3) == (
        f"{expected} (3 of the tracks are elsewhere)"
    )
    assert file_sum_text(unread.iloc[:0], {"used": 2, "quarantined": 0}) == "2 files: 2 tracks used"
