"""What a night learns of its champion's answers."""

from pathlib import Path

import pytest

from chorale.search.champion.health.ring import Answer, RingWriter
from chorale.search.nightly.served_health import served_health
from tests.search.champion.health.fake_bundle import bundle


def test_a_night_has_the_sentence_of_the_champion_s_answers(tmp_path: Path) -> None:
    assert served_health(tmp_path, None) is None, "no champion"
    assert served_health(tmp_path / "none", bundle()) is None, "nothing is kept"
    writer = RingWriter(tmp_path, bundle().digest)
    for at in range(300):
        writer.append(Answer(60.0 * at, 0.5, 0.1, 0.2, False))
    writer.close()
    found = served_health(tmp_path, bundle())
    assert found is not None
    assert found["alarm"]
    assert found["sentence"].startswith("about 45.9% of the last 300 answers")


def test_a_file_that_cannot_be_read_is_the_sentence_and_stops_no_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RingWriter(tmp_path, bundle().digest).close()

    def refused(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    found = served_health(tmp_path, bundle())
    assert found is not None
    assert "cannot be read (Permission denied)" in found["sentence"]
    assert not found["alarm"]
