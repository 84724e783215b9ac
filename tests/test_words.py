"""Plain words: private idioms that were replaced by the field's standard terms do not come back."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

REPLACED = {
    "said": "predicted, given, printed",
    "told": "given, reported, printed",
    "heard": "received, decoded",
    "mend|mends|mended|mending": "fix, repair",
    "ear|ears": "socket, feature set",
    "crew": "worker pool",
    "ally|allies": "members",
    "sitting|sittings": "run, session",
    "shelf": "registry",
    "strange": "out of distribution",
    "parcel|parcels": "job folder",
    "ballot": "settings",
    "reign|reigns": "champion period",
    "foretell|foretells|foretold": "expect, estimate",
    "believe|believes|believed|belief": "validation accuracy, weight",
    "rightly": "accuracy",
    "timid": "underconfident",
    "eat|eats|eaten": "accepts",
}
"""Words, and what to write instead."""

WORD = re.compile(rf"(?<![a-z])({'|'.join(REPLACED)})(?![a-z])", re.IGNORECASE)

KEPT = {
    # keys and columns of stored data and of JSON that scripts read
    "search/champion/registry/registry.py": {"reigns"},
    "search/commands/doctor.py": {"said", "mend"},
    "search/commands/playlist_output.py": {"heard"},
    "search/ensembles/fusion.py": {"belief"},
    "search/ledger/lease.py": {"sitting"},
    "search/ledger/ledger.py": {"sitting"},
    "search/ledger/tables.py": {"sitting"},
    "search/nightly/page_texts.py": {"said"},
    "search/nightly/steps.py": {"said"},
    "search/report/data/hardest.py": {"said"},
    "search/report/report.py": {"foretold"},
    "search/report/tensorboard_finalists.py": {"said"},
    "tests/cluster/doctor/test_doctor.py": {"said"},
    "tests/cluster/doctor/test_doctor_repair.py": {"said", "mend"},
    "tests/search/ledger/test_lease.py": {"sitting"},
    "tests/search/ledger/test_ledger_faults.py": {"sitting"},
    "tests/search/nightly/conftest.py": {"said"},
    "tests/search/nightly/test_night.py": {"reigns"},
    "tests/search/report/page/test_report_page.py": {"said"},
    "tests/search/report/test_multi_label_study.py": {"said"},
    "tests/search/report/test_tensorboard_finalists.py": {"said"},
    "tests/search/statistics/test_expected_accuracy.py": {"foretold"},
}
"""File -> the words that it needs."""

TEXT = {".py", ".md", ".html", ".js", ".css", ".yaml", ".toml", ".sh", ""}


def _tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("this is no checkout")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_replaced_words_do_not_come_back() -> None:
    found = []
    for name in _tracked():
        if Path(name).suffix not in TEXT or name == "tests/test_words.py":
            continue
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").split("\n"), 1):
            words = {match.lower() for match in WORD.findall(line)} - KEPT.get(name, set())
            found += [f"{name}:{number}: {word}" for word in sorted(words)]
    assert found == []
