#!/usr/bin/env bash
# pytest-xdist 3.8.0 ignores `xdist_group` with pytest 9.2.0, and says nothing: with
# `--dist loadgroup` every test becomes a group of its own.
#
# The workers tell the scheduler a test's group as a suffix of its node id, which they write to the
# item's private attribute `_nodeid`. pytest 9.2 keeps the id elsewhere, so the suffix is lost. Tests
# that may not run at the same time (one server, one Ray cluster) then do, and each worker sets up
# every module's fixtures again. pip installs the pair: pytest-xdist asks for pytest>=7.
#
# Seen on 2026-11-29, Python 3.11, Linux x86_64, 12 tests in one group, 2 workers:
#   pytest 9.1.1, pytest-xdist 3.8.0: workers that ran the group: 1
#   pytest 9.2.0, pytest-xdist 3.8.0: workers that ran the group: 2
# So: a scheduler of one's own (the hook `pytest_xdist_make_scheduler`), `--dist loadfile`, or
# pytest<9.2; and a test that asserts that one process runs a whole group.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/test_group.py" <<'PYTHON'
import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("_", range(12))
def test_worker(_, worker_id):
    with open("workers", "a") as file:
        file.write(f"{worker_id}\n")
PYTHON

workers() {
  rm -rf "$folder/venv" "$folder/workers"
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "pytest==$1" pytest-xdist==3.8.0
  (cd "$folder" && venv/bin/python -m pytest -q -n 2 --dist loadgroup >/dev/null)
  n=$(sort -u "$folder/workers" | wc -l)
  echo "pytest $1, pytest-xdist 3.8.0: workers that ran the group: $n"
}

workers 9.1.1
[ "$n" = 1 ]
workers 9.2.0
[ "$n" = 2 ]
echo "as described"
