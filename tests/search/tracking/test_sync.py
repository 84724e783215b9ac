"""Runs in a tracker equal the ledger, each exactly once, whatever failed before."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chorale.datasets.errors import UserError
from chorale.search.config.track_config import TrackConfig
from chorale.search.ledger.ledger import Ledger
from chorale.search.tracking.base import TrackerError
from chorale.search.tracking.sync import StudySync, Written, open_tracker
from chorale.search.tracking.trackers import _mlflow_rest
from tests.search.tracking.conftest import ABOUT, FINGERPRINT, NAME, MadeUpStudy
from tests.search.tracking.fake_mlflow import FakeMlflow, serving

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def sync(study: MadeUpStudy, **track: Any) -> Written:
    """One sync by a process of its own."""
    tracker = open_tracker(TrackConfig(**track))
    try:
        return StudySync(NAME, study.paths, tracker).run(study.ledger, closing=True)
    finally:
        tracker.close()


def test_a_study_becomes_a_run_and_its_trials_runs_below_it(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    study.end("search", "0", "COMPLETE", curve=[0.25, 0.5], origin="default", n_parameters=99)
    study.end("search", "1", "PRUNED", curve=[0.125], reason="pruned")
    study.end("search", "2", "FAIL", reason="Diverged: loss is nan")
    study.end("finalists", "0/1/0", "COMPLETE", curve=[0.5])
    assert sync(study) == Written(created=5)
    runs = fake.by_key()
    parent = runs["study"]
    assert (parent.name, parent.status) == (NAME, "RUNNING")
    assert parent.params == {
        "dataset": "gtzan", "objective": "accuracy", "seed": "3", "sampler": "tpe",
        "pruner": "median", "max_epochs": "8", "budget.trials": "4",
    }  # fmt: skip
    assert parent.tags["mlflow.source.git.commit"] == "c0ffee"
    assert (parent.tags["chorale.data_fingerprint"], parent.tags["chorale.split"]) == (
        "f00d",
        "5eed",
    )
    first, pruned, failed, fold = (
        runs[key] for key in ("search/0", "search/1", "search/2", "finalists/0/1/0")
    )
    assert [run.status for run in (first, pruned, failed)] == ["FINISHED", "KILLED", "FAILED"]
    assert {run.tags["mlflow.parentRunId"] for run in (first, pruned, failed, fold)} == {parent.id}
    assert first.params == {"architecture": "cnn", "train.lr": "0.001", "cnn.width": "16"}
    assert fold.params == {**first.params, "trial": "0", "fold": "1", "seed": "0"}
    assert (first.name, fold.name) == ("trial 0", "trial 0 fold 1")
    assert fake.curve("search/0", "accuracy") == [(1, 0.25), (2, 0.5)]
    assert fake.curve("search/0", "final/accuracy") == [(2, 0.5)]
    assert fake.curve("search/0", "n_parameters") == [(2, 99.0)]
    assert first.tags["chorale.origin"] == "default"
    assert failed.tags["chorale.reason"] == "Diverged: loss is nan"
    assert first.end == first.start + 2000
    times = [time for name, _, time, _ in first.metrics if name == "accuracy"]
    assert times == [first.start + 1000, first.start + 2000]


def test_a_complete_study_has_its_scores_and_reports(study: MadeUpStudy, fake: FakeMlflow) -> None:
    study.end("search", "0", "COMPLETE", curve=[0.5])
    study.report({"accuracy": 0.75})
    (study.paths.bundle.root / "networks").mkdir(parents=True)
    study.paths.bundle.manifest.write_text("{}")
    (study.paths.bundle.networks / "a b.bin").write_bytes(b"")
    study.complete()
    sync(study)
    run = fake.by_key()["study"]
    assert (run.status, run.end) == ("FINISHED", run.start + round(1000 * _spent_s(study)))
    assert fake.curve("study", "test/accuracy") == [(4, 0.75)]
    assert fake.curve("study", "test/ci95_low") == [(4, 0.4)]
    assert run.tags["chorale.ensemble"] == "greedy"
    assert run.tags["mlflow.note.content"].startswith("Test accuracy 75.0% (95 % CI 40.0% to 60")
    names = {name.partition("/artifacts/")[2] for name in fake.artifacts}
    assert names == {"report.json", "report.html", "bundle/bundle.json", "bundle/networks/a b.bin"}
    fake.requests.clear()
    study.report({"accuracy": 0.5})
    sync(study)
    uploads = [one.rpartition("/")[2] for one in fake.requests if one.startswith("PUT")]
    assert sorted(uploads) == ["report.html", "report.json"], "the bundle is as it was"
    latest = max((time, v) for name, v, time, _ in run.metrics if name == "test/accuracy")
    assert latest[1] == 0.5


def _spent_s(study: MadeUpStudy) -> float:
    return study.ledger.study(NAME).spent_s


def test_a_second_sync_writes_nothing(study: MadeUpStudy, fake: FakeMlflow) -> None:
    for number in range(9):
        study.end("search", str(number), "COMPLETE", curve=[0.5, 0.25])
    sync(study)
    fake.requests.clear()
    assert sync(study) == Written(unchanged=10)
    assert {one.rpartition("/")[2].partition("?")[0] for one in fake.requests} == {
        "version",
        "get-by-name",
        "search",
    }


def test_a_sync_of_one_process_asks_the_server_only_about_what_changed(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    tracker = open_tracker(TrackConfig())
    one = StudySync(NAME, study.paths, tracker)
    study.end("search", "0", "COMPLETE", curve=[0.5])
    one.run(study.ledger)
    fake.requests.clear()
    assert one.run(study.ledger) == Written(unchanged=2)
    assert fake.requests == []
    study.end("search", "1", "COMPLETE", curve=[0.5])
    assert one.run(study.ledger) == Written(created=1, unchanged=2)
    assert not [request for request in fake.requests if "runs/search" in request]
    tracker.close()


def test_a_run_that_goes_on_updates_the_same_run(study: MadeUpStudy, fake: FakeMlflow) -> None:
    study.end("search", "0", "PRUNED", curve=[0.25, 0.5], reason="out of time")
    study.end("search", "1", "FAIL", reason="lost")
    sync(study)
    before = {key: run.id for key, run in fake.by_key().items()}
    study.end("search", "0", "COMPLETE", curve=[0.25, 0.5, 0.75])
    study.end("search", "1", "COMPLETE", curve=[0.5])
    assert sync(study) == Written(updated=2, unchanged=1)
    runs = fake.by_key()
    assert {key: run.id for key, run in runs.items()} == before
    assert {runs[key].status for key in ("search/0", "search/1")} == {"FINISHED"}
    assert fake.curve("search/0", "accuracy") == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert "chorale.reason" not in runs["search/1"].tags


def test_a_resumed_study_with_another_budget_is_the_same_run(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    study.complete()
    sync(study)
    assert fake.by_key()["study"].status == "FINISHED"
    study.ledger.reopen(NAME, FINGERPRINT, about={**ABOUT, "budget": {"trials": 99}})
    assert sync(study) == Written(updated=1)
    run = fake.by_key()["study"]
    assert (run.status, run.params["budget.trials"]) == ("RUNNING", "4")
    assert run.tags["chorale.budget"] == "trials 99"


def test_another_study_of_the_same_name_has_its_own_runs(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    study.end("search", "0", "COMPLETE", curve=[0.5])
    sync(study)
    with study.ledger.deleting(NAME):
        pass
    study.ledger.create(NAME, FINGERPRINT, about=ABOUT)
    assert sync(study) == Written(created=1)
    assert len({run.tags["chorale.study"] for run in fake.active()}) == 2


def test_a_run_that_a_user_deleted_is_written_again(study: MadeUpStudy, fake: FakeMlflow) -> None:
    study.end("search", "0", "COMPLETE", curve=[0.5])
    sync(study)
    fake.by_key()["study"].deleted = True
    assert sync(study) == Written(created=1, updated=1)
    runs = fake.by_key()
    assert runs["search/0"].tags["mlflow.parentRunId"] == runs["study"].id
    assert fake.curve("search/0", "accuracy") == [(1, 0.5)]


def test_doubled_runs_are_reduced_to_the_complete_one(study: MadeUpStudy, fake: FakeMlflow) -> None:
    study.end("search", "0", "COMPLETE", curve=[0.5])
    sync(study)
    kept = fake.by_key()["search/0"]
    tags = [{"key": key, "value": one} for key, one in kept.tags.items() if "written" not in key]
    fake._runs_create("7", "trial 0", kept.start, tags)
    assert sync(study) == Written(unchanged=2, doubles_removed=1)
    assert fake.by_key()["search/0"] is kept


def test_a_run_whose_creation_got_no_answer_is_found_by_the_same_process(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    study.end("search", "0", "COMPLETE", curve=[0.5])
    tracker = open_tracker(TrackConfig())
    one = StudySync(NAME, study.paths, tracker)
    fake.fault = lambda method, path: "lost" if path.endswith("create") and fake.runs else None
    with pytest.raises(TrackerError):
        one.run(study.ledger)
    fake.fault = lambda method, path: None
    assert one.run(study.ledger) == Written(updated=2)
    assert len(fake.runs) == 2
    tracker.close()


def test_a_run_whose_creation_arrives_after_the_next_process_has_looked_is_removed(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    study.end("search", "0", "COMPLETE", curve=[0.5])
    fake.fault = lambda method, path: "late" if path.endswith("create") and fake.runs else None
    fake.lateness = 6
    with pytest.raises(TrackerError):
        sync(study)
    fake.fault = lambda method, path: None
    assert sync(study) == Written(created=1, updated=1, doubles_removed=1)
    assert fake.by_key().keys() == {"study", "search/0"}
    assert fake.curve("search/0", "accuracy") == [(1, 0.5)]


FAULTS = ("drop", "lost", "late", "garbage", "401", "429", "500", "503")


@pytest.mark.parametrize("seed", range(4))
def test_after_any_failures_one_sync_makes_the_runs_equal_the_ledger(
    seed: int, study: MadeUpStudy, fake: FakeMlflow
) -> None:
    """A process may be killed at any request: then the answer is lost, or it is obeyed later."""
    rng = random.Random(seed)
    expected: dict[str, tuple[str, list[float]]] = {}
    tracker = open_tracker(TrackConfig())
    one = StudySync(NAME, study.paths, tracker)
    for _ in range(6):
        for _ in range(rng.randrange(3)):
            _end_any(study, expected, rng)
        if rng.random() < 0.5:  # another process
            tracker.close()
            tracker = open_tracker(TrackConfig())
            one = StudySync(NAME, study.paths, tracker)
        fake.fault, fake.lateness = _after(rng.randrange(12), rng.choice(FAULTS)), rng.randrange(9)
        with contextlib.suppress(TrackerError):
            one.run(study.ledger, closing=rng.random() < 0.5)
    tracker.close()
    fake.fault = lambda method, path: None
    fake.obey_late(everything=True)
    study.complete()
    sync(study)
    runs = fake.by_key()
    assert {key: run.status for key, run in runs.items()} == {
        "study": "FINISHED",
        **{key: STATUS[state] for key, (state, _) in expected.items()},
    }
    for key, (state, curve) in expected.items():
        assert fake.curve(key, "accuracy") == list(enumerate(curve, start=1)), key
        assert runs[key].tags["chorale.state"] == state
        assert runs[key].tags["mlflow.parentRunId"] == runs["study"].id
    assert sync(study) == Written(unchanged=len(runs))


def _after(n: int, fault: str) -> Callable[[str, str], str | None]:
    """Fails from the n-th request on."""
    left = [n]

    def ask(_method: str, _path: str) -> str | None:
        left[0] -= 1
        return fault if left[0] < 0 else None

    return ask


def _end_any(
    study: MadeUpStudy, expected: dict[str, tuple[str, list[float]]], rng: random.Random
) -> None:
    """Ends a new training run, or changes one: a retry, or one that went on."""
    stage, key = rng.choice([("search", str(rng.randrange(4))), ("finalists", "1/0/0")])
    _, curve = expected.get(f"{stage}/{key}", ("", []))
    state = rng.choice(list(STATUS)) if not curve else "COMPLETE"
    if state != "FAIL":
        curve = [*curve, *(rng.random().__round__(4) for _ in range(rng.randrange(1, 4)))]
    study.end(stage, key, state, curve=curve, reason="" if state == "COMPLETE" else "for a reason")
    expected[f"{stage}/{key}"] = (state, curve)


def _message(study: MadeUpStudy, **track: Any) -> str:
    with pytest.raises(UserError) as failed:
        sync(study, **track)
    text = str(failed.value)
    assert len(text.splitlines()) == 1
    return text


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("401", "refuses the token or the password (HTTP 401: refused *** ***); export MLFLOW_"),
        ("403", "refuses the token or the password (HTTP 403"),
        ("302", "redirects to another address (HTTP 302); give that one"),
        ("500", "fails (HTTP 500: refused *** ***); see its own log"),
        ("400", "refuses a request (HTTP 400 X: refused *** ***)"),
        ("garbage", "answers like no MLflow server of version 2.0 or later (HTTP 200)"),
        ("json", "answers like no MLflow server of version 2.0 or later (HTTP 200)"),
        ("drop", "cannot be reached (no connection); start it, or check its address"),
    ],
)
def test_each_failure_is_one_line_without_a_secret(
    fault: str,
    expected: str,
    study: MadeUpStudy,
    fake: FakeMlflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "Bearer")  # the server repeats "Bearer Bearer"
    fake.fault = lambda method, path: fault
    text = _message(study)
    assert text.startswith(f"MLflow at {fake.address} {expected}")
    assert "Bearer" not in text


def test_a_server_that_is_away_or_hangs_is_one_line(
    study: MadeUpStudy, fake: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_mlflow_rest, "TIMEOUT_S", (1.0, 0.1))
    fake.fault = lambda method, path: "hang"
    assert "cannot be reached (it does not answer in time)" in _message(study)
    with serving(FakeMlflow()) as gone:
        pass
    assert _message(study, uri=gone) == (
        f"MLflow at {gone} cannot be reached (connection refused); start it, or check its address"
    )


def test_servers_of_other_versions_and_other_servers_are_one_line(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    fake.version = "1.30.0"
    assert "is of MLflow 1.30.0, but 2.0 or later is needed; upgrade the server" in _message(study)
    fake.version = "2.0.1"
    sync(study)
    fake.experiments["chorale"] = "deleted"
    assert "the experiment 'chorale' is deleted; restore it" in _message(study)
    assert "answers like no MLflow server" in _message(study, uri=f"{fake.address}/elsewhere")


def test_secrets_come_from_the_environment_and_go_into_a_header_only(
    study: MadeUpStudy, fake: FakeMlflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sync(study)
    assert not [one for one in fake.headers if "Authorization" in one]
    fake.headers.clear()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0psecret")
    sync(study)
    assert {one["Authorization"] for one in fake.headers} == {"Bearer t0psecret"}
    assert "t0psecret" not in repr([vars(run) for run in fake.active()])
    assert "t0psecret" not in "".join(fake.requests)
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "t0psecret")
    fake.headers.clear()
    sync(study)
    assert {one["Authorization"] for one in fake.headers} == {"Basic bWU6dDBwc2VjcmV0"}


@pytest.mark.parametrize("uri", ["http://me:t0psecret@host", "https://host/?token=t0psecret"])
def test_an_address_with_a_secret_is_refused_and_not_repeated(
    uri: str, study: MadeUpStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    text = _message(study)
    assert text.startswith("MLFLOW_TRACKING_URI holds a user, a password or other parts")
    assert "t0psecret" not in text


def test_without_an_address_or_with_an_unknown_tracker_nothing_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"no MLflow server is named; give track.uri"):
        open_tracker(TrackConfig())
    with pytest.raises(UserError, match=r"unknown tracker 'mlfow'; did you mean 'mlflow'\?"):
        open_tracker(TrackConfig(name="mlfow"))


def test_a_server_that_does_not_store_artifacts_gets_everything_else(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    fake.artifact_uri = "s3://bucket/{id}"
    study.report({})
    [line] = sync(study).left_out
    assert line.startswith("report.json, report.html not written: the server does not store")
    assert fake.artifacts == {}
    assert sync(study) == Written(unchanged=1)


def test_long_names_and_many_values_fit_the_limits_of_a_request(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    params = {f"net.p{n}": "x" * 900 for n in range(230)} | {"odd$name": 1}
    study.end("search", "0", "COMPLETE", curve=[0.5] * 2000, params=params, reason="r" * 9000)
    sync(study)
    run = fake.by_key()["search/0"]
    assert len(run.params) == 231
    assert (run.params["odd_name"], len(run.params["net.p7"])) == ("1", 500)
    assert len(fake.curve("search/0", "accuracy")) == 2000
    assert len(run.tags["chorale.reason"]) == 5000


def test_a_ledger_that_is_open_for_writing_is_read_by_another_connection(
    study: MadeUpStudy, fake: FakeMlflow
) -> None:
    """As the thread of a sweep does."""
    study.end("search", "0", "COMPLETE", curve=[0.5])
    tracker = open_tracker(TrackConfig())
    other = Ledger(study.runs.ledger_url)
    assert StudySync(NAME, study.paths, tracker).run(other).created == 2
    other.close()
    tracker.close()
