"""What every `Runner` promises, run on each; then what only one with workers can promise."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.cluster.base import (
    ClusterError,
    Decision,
    End,
    Failure,
    Outcome,
    Report,
    Resources,
    Runner,
    TrialSpec,
    Work,
)
from chorale.cluster.local import LocalRunner
from chorale.cluster.local_workers.fork_client import forks
from chorale.cluster.local_workers.runner import ProcessRunner

Payload = Mapping[str, Any]


class Script:
    """Trials that are known beforehand, and a record of all that the runner said about them."""

    def __init__(self, *payloads: Payload) -> None:
        self.left = [TrialSpec(number, payload) for number, payload in enumerate(payloads)]
        self.asked: list[int] = []
        self.reports: list[tuple[int, int, Mapping[str, float]]] = []
        self.told: list[tuple[int, Outcome]] = []

    def done(self) -> bool:
        return not self.left

    def ask(self, n: int) -> list[TrialSpec]:
        specs, self.left = self.left[:n], self.left[n:]
        self.asked += [spec.trial_id for spec in specs]
        return specs

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        self.reports.append((trial_id, step, metrics))
        return Decision.STOP if metrics.get("stop_me") else Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self.told.append((trial_id, outcome))

    def outcome(self, trial_id: int) -> Outcome:
        return dict(self.told)[trial_id]

    def reports_of(self, trial_id: int) -> list[tuple[int, Mapping[str, float]]]:
        return [(step, metrics) for number, step, metrics in self.reports if number == trial_id]


class Unloadable:
    """Work that can be pickled here and cannot be unpickled anywhere."""

    def __reduce__(self) -> Any:
        return __import__, ("a_module_that_is_nowhere",)

    def __call__(self, spec: TrialSpec, report: Report) -> None: ...


def train(spec: TrialSpec, report: Report) -> str:
    decisions = [report(step, {"loss": 1 / step}) for step in (1, 2, 3)]
    return " ".join(decision.value for decision in decisions)


def be_stopped(spec: TrialSpec, report: Report) -> dict[str, Any]:
    for step in range(1, 100):
        if report(step, {"stop_me": float(step == 3)}) is Decision.STOP:
            return {"stopped_at": step}
    return {}


def not_listen(spec: TrialSpec, report: Report) -> str:
    return " ".join(report(step, {"stop_me": 1.0}).value for step in (1, 2, 3))


def exhaust(spec: TrialSpec, report: Report) -> None:
    try:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    except RuntimeError as error:
        raise ValueError("no batch") from error


def diverge(spec: TrialSpec, report: Report) -> float:
    report(1, {"loss": math.nan, "norm": math.inf})
    return math.nan


def fail(spec: TrialSpec, report: Report) -> None:
    raise ValueError("loss is nowhere\nto be found")


def leave(spec: TrialSpec, report: Report) -> None:
    sys.exit(3)


def predict(spec: TrialSpec, report: Report) -> dict[str, Any]:
    return {"proba": np.full((1000, 250), 0.5), "names": ["a", "b"]}


def echo(spec: TrialSpec, report: Report) -> Payload:
    return spec.payload


def pid(spec: TrialSpec, report: Report) -> int:
    return os.getpid()


def swallow(spec: TrialSpec, report: Report) -> None:
    try:
        report(1, {})
    except Exception:
        report(2, {})


def report_and_sleep(spec: TrialSpec, report: Report) -> None:
    report(1, {"pid": os.getpid()})
    time.sleep(spec.payload["sleep_s"])


def run_out_of_memory(spec: TrialSpec, report: Report) -> None:
    raise MemoryError("no more of it")


def die(spec: TrialSpec, report: Report) -> None:
    os._exit(1)


def _first_time(spec: TrialSpec) -> bool:
    marker = Path(spec.payload["folder"]) / f"tried-{spec.trial_id}"
    if marker.exists():
        return False
    marker.touch()
    return True


def fail_once(spec: TrialSpec, report: Report) -> int:
    if _first_time(spec):
        raise ValueError("no luck")
    return os.getpid()


def die_once(spec: TrialSpec, report: Report) -> int:
    report(1, {})
    if _first_time(spec):
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def hang_once(spec: TrialSpec, report: Report) -> int:
    report(1, {})
    if _first_time(spec):
        time.sleep(300)
    return os.getpid()


def visible_gpus(spec: TrialSpec, report: Report) -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


def n_threads(spec: TrialSpec, report: Report) -> int:
    import torch

    return torch.get_num_threads()


def meet(spec: TrialSpec, report: Report) -> bool:
    """Waits until the other trial is there too."""
    folder = Path(spec.payload["folder"])
    (folder / str(spec.trial_id)).touch()
    give_up = time.monotonic() + 150
    while len(list(folder.iterdir())) < 2 and time.monotonic() < give_up:
        time.sleep(0.02)
    return len(list(folder.iterdir())) == 2


DOERS: tuple[Work, ...] = (train, be_stopped, not_listen, diverge, fail, leave, predict, echo, pid)
DOERS += (
    exhaust,
    fail_once,
    hang_once,
    die_once,
    swallow,
    report_and_sleep,
    run_out_of_memory,
    die,
    visible_gpus,
    n_threads,
    meet,
)
BY_NAME = {doer.__name__: doer for doer in DOERS}


def work(spec: TrialSpec, report: Report) -> Any:
    """Does what the payload says."""
    return BY_NAME[spec.payload["do"]](spec, report)


TUNE = [pytest.param(name, marks=pytest.mark.ray) for name in ("tune", "forked")]
POOLS = [*TUNE, "processes"]
RUNNERS = ["local", *POOLS]
Pool = Callable[..., Runner]


@pytest.fixture(scope="module")
def template() -> Iterator[Path | None]:
    """The process that workers are forked from."""
    with forks(("numpy",)) as socket:
        yield socket


@pytest.fixture(scope="module", params=RUNNERS)
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    if request.param == "local":
        return LocalRunner()
    return _pool(request)(tmp_path_factory.mktemp("tune"))


@pytest.fixture(scope="module", params=POOLS)
def pool(request: pytest.FixtureRequest) -> Pool:
    """Makes runners with processes: of Ray, forked for Ray's, or forked without Ray."""
    return _pool(request)


def _pool(request: pytest.FixtureRequest) -> Pool:
    if request.param == "processes":
        return partial(process_runner, request.getfixturevalue("template"))
    request.getfixturevalue("private_ray")
    forked = request.param == "forked"
    return partial(tune_runner, forks=request.getfixturevalue("template") if forked else None)


def process_runner(
    template: Path, _: Path, *, max_concurrent: int = 2, stall_s: float | None = None
) -> Runner:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # processes cannot import tests
    return ProcessRunner(Resources(1.0), n_at_once=max_concurrent, forks=template, stall_s=stall_s)


def tune_runner(
    storage: Path,
    *,
    max_concurrent: int = 2,
    cpus: float = 1.0,
    stall_s: float | None = None,
    forks: Path | None = None,
) -> Runner:
    from ray import cloudpickle

    from chorale.cluster.tune.runner import TuneRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    return TuneRunner(
        Resources(cpus),
        max_concurrent=max_concurrent,
        storage=storage,
        stall_s=stall_s,
        forks=forks,
    )


KINDS = ["train", "be_stopped", "not_listen", "diverge", "fail", "leave", "predict"]
KINDS += ["run_out_of_memory", "exhaust"]


@pytest.fixture(scope="module")
def sweep(runner: Runner) -> Script:
    """One trial of each kind, run; a trial's number is its place in KINDS, the last one echoes."""
    script = Script(*({"do": kind} for kind in KINDS), {"do": "echo", "x": (1, {"y": None})})
    runner.run(script, work)
    return script


def test_every_trial_is_told_exactly_once(sweep: Script) -> None:
    assert sorted(number for number, _ in sweep.told) == sweep.asked == list(range(len(KINDS) + 1))


@pytest.mark.parametrize(
    ("kind", "end", "value"),
    [
        ("train", End.FINISHED, "continue continue continue"),
        ("be_stopped", End.STOPPED, {"stopped_at": 3}),
        ("not_listen", End.STOPPED, "stop stop stop"),
        ("fail", End.FAILED, None),
        ("leave", End.FAILED, None),
    ],
)
def test_a_trial_ends_as_it_should_with_its_value(
    sweep: Script, kind: str, end: End, value: Any
) -> None:
    outcome = sweep.outcome(KINDS.index(kind))
    assert (outcome.end, outcome.value) == (end, value)


@pytest.mark.parametrize(
    ("kind", "reason"), [("fail", "ValueError: loss is nowhere"), ("leave", "SystemExit: 3")]
)
def test_a_failure_has_one_line_of_reason_and_the_workers_traceback(
    sweep: Script, kind: str, reason: str
) -> None:
    outcome = sweep.outcome(KINDS.index(kind))
    assert outcome.reason == reason
    assert f"in {kind}" in outcome.traceback


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("train", None),
        ("be_stopped", None),
        ("fail", Failure.RAISED),
        ("leave", Failure.RAISED),
        ("run_out_of_memory", Failure.OUT_OF_MEMORY),
        ("exhaust", Failure.OUT_OF_MEMORY),
    ],
)
def test_a_failure_has_its_kind(sweep: Script, kind: str, failure: Failure | None) -> None:
    assert sweep.outcome(KINDS.index(kind)).failure is failure


class Stubborn(Script):
    """Gives a trial that failed again, under its number; only then is all done."""

    def done(self) -> bool:
        return not self.left and len(self.told) == len(self.asked)

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        if outcome.end is End.FAILED:
            spec = TrialSpec(trial_id, {**self.payloads[trial_id], "again": True})
            self.left.insert(0, spec)
        super().tell(trial_id, outcome)

    def __init__(self, *payloads: Payload) -> None:
        super().__init__(*payloads)
        self.payloads = payloads


def test_a_trial_that_failed_last_of_all_is_run_again_under_its_number(
    runner: Runner, tmp_path: Path
) -> None:
    script = Stubborn({"do": "train"}, {"do": "fail_once", "folder": str(tmp_path)})
    runner.run(script, work)
    assert [(n, o.end) for n, o in script.told if n == 1] == [(1, End.FAILED), (1, End.FINISHED)]
    assert sorted(script.asked) == [0, 1, 1]


def test_reports_arrive_in_order_and_end_with_the_stop(sweep: Script) -> None:
    assert [step for step, _ in sweep.reports_of(KINDS.index("train"))] == [1, 2, 3]
    assert [step for step, _ in sweep.reports_of(KINDS.index("be_stopped"))] == [1, 2, 3]
    assert [step for step, _ in sweep.reports_of(KINDS.index("not_listen"))] == [1]


def test_what_is_not_finite_arrives_untouched(sweep: Script) -> None:
    [(step, metrics)] = sweep.reports_of(KINDS.index("diverge"))
    assert step == 1
    assert set(metrics) == {"loss", "norm"}
    assert math.isnan(metrics["loss"])
    assert metrics["norm"] == math.inf
    assert math.isnan(sweep.outcome(KINDS.index("diverge")).value)


def test_arrays_arrive_equal_and_may_be_written_to(sweep: Script) -> None:
    value = sweep.outcome(KINDS.index("predict")).value
    np.testing.assert_array_equal(value["proba"], np.full((1000, 250), 0.5))
    value["proba"] += 1
    assert value["names"] == ["a", "b"]


def test_the_payload_reaches_the_work_unchanged(sweep: Script) -> None:
    assert sweep.outcome(len(KINDS)).value == {"do": "echo", "x": (1, {"y": None})}


def test_nothing_is_asked_when_all_is_done_at_once(runner: Runner) -> None:
    script = Script()
    runner.run(script, work)
    assert (script.asked, script.told) == ([], [])


class Generations(Script):
    """The second half is given only when the first half is told."""

    n_asks = 0

    def ask(self, n: int) -> list[TrialSpec]:
        self.n_asks += 1
        wait = len(self.asked) >= 2 and len(self.told) < 2
        return [] if wait else super().ask(n)


def test_asking_in_vain_waits_for_a_running_trial_to_end(runner: Runner) -> None:
    slow = {"do": "report_and_sleep", "sleep_s": 1.0}
    script = Generations(slow, {"do": "train"}, {"do": "train"}, {"do": "train"})
    runner.run(script, work)
    assert sorted(number for number, _ in script.told) == [0, 1, 2, 3]
    assert script.n_asks < 10


class Hesitant(Script):
    """Has nothing to try at first, though nothing runs."""

    n_asks = 0

    def ask(self, n: int) -> list[TrialSpec]:
        self.n_asks += 1
        return super().ask(n) if self.n_asks > 2 else []


def test_asking_in_vain_with_nothing_running_asks_again(runner: Runner) -> None:
    script = Hesitant({"do": "train"})
    runner.run(script, work)
    assert [outcome.end for _, outcome in script.told] == [End.FINISHED]


class Broken(Script):
    """Raises in one of its methods, as a full disk under the ledger would make it."""

    def __init__(self, method: str, *payloads: Payload) -> None:
        super().__init__(*payloads)
        self.method = method

    def _break(self, method: str) -> None:
        if method == self.method:
            raise OSError("no space left")

    def ask(self, n: int) -> list[TrialSpec]:
        self._break("ask")
        return super().ask(n)

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        self._break("report")
        return super().report(trial_id, step, metrics)

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self._break("tell")
        super().tell(trial_id, outcome)


@pytest.mark.parametrize("method", ["ask", "report", "tell"])
def test_an_error_of_the_trials_themselves_ends_the_run(runner: Runner, method: str) -> None:
    script = Broken(method, *[{"do": "swallow"}] * 5)
    with pytest.raises(OSError, match="no space left"):
        runner.run(script, work)
    assert script.told == []
    assert len(script.asked) <= 2


class Interrupted(Script):
    """Presses Ctrl-C soon after trial 0 began to sleep."""

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        if trial_id == 0:
            threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        return super().report(trial_id, step, metrics)


def test_ctrl_c_ends_the_run_at_once_and_the_running_trial_is_not_told(runner: Runner) -> None:
    script = Interrupted({"do": "report_and_sleep", "sleep_s": 200.0}, {"do": "train"})
    runner_is_here = isinstance(runner, LocalRunner)
    with pytest.raises(KeyboardInterrupt):
        runner.run(script, work)
    assert 0 not in dict(script.told)
    [(_, metrics)] = script.reports_of(0)
    assert runner_is_here or not _is_alive(int(metrics["pid"]))


def _is_alive(process_id: int) -> bool:
    """Whether a process is there, after a moment in which it may go."""
    for _ in range(50):
        if not Path(f"/proc/{process_id}").exists():
            return False
        time.sleep(0.1)
    return True


def test_lightnings_answer_to_ctrl_c_is_an_interrupt_too() -> None:
    def exit_gracefully(spec: TrialSpec, report: Report) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    script = Script({}, {})
    with pytest.raises(KeyboardInterrupt):
        LocalRunner().run(script, exit_gracefully)
    assert script.told == []


def test_runners_on_one_machine_and_the_contract_need_no_ray() -> None:
    modules = ", ".join(f"chorale.cluster.{m}" for m in ("base", "local", "maps", "processes"))
    code = f"import sys, {modules}; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


PROCESSES = ["pid", "n_threads", "fail", "pid", "run_out_of_memory", "pid", "die", "pid"]


@pytest.fixture(scope="module")
def processes(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Script:
    """Trials that tell about their processes, one at a time."""
    script = Script(*({"do": kind} for kind in PROCESSES))
    storage = tmp_path_factory.mktemp("processes")
    pool(storage, max_concurrent=1).run(script, work)
    assert list(storage.iterdir()) == []
    return script


@pytest.mark.ray
def test_a_process_serves_many_trials_also_after_an_ordinary_failure(processes: Script) -> None:
    assert processes.outcome(2).reason.startswith("ValueError")
    assert processes.outcome(3).value == processes.outcome(0).value


@pytest.mark.ray
def test_running_out_of_memory_is_told_and_followed_by_a_fresh_process(processes: Script) -> None:
    assert processes.outcome(4).end is End.FAILED
    assert processes.outcome(4).reason == "MemoryError: no more of it"
    assert processes.outcome(5).value != processes.outcome(3).value


@pytest.mark.ray
def test_a_worker_that_dies_is_told_and_replaced(processes: Script) -> None:
    assert processes.outcome(6).end is End.FAILED
    assert processes.outcome(6).reason.startswith("worker lost: ")
    assert "\n" not in processes.outcome(6).reason
    assert processes.outcome(7).value != processes.outcome(5).value


@pytest.mark.ray
def test_the_kind_of_failure_of_a_process_is_told(processes: Script) -> None:
    assert processes.outcome(4).failure is Failure.OUT_OF_MEMORY
    assert processes.outcome(6).failure is Failure.LOST


@pytest.mark.ray
@pytest.mark.parametrize(
    ("kind", "failure", "reason"),
    [
        ("die_once", Failure.LOST, "worker lost: "),
        ("hang_once", Failure.STALLED, "stalled: no report for 0.05 minutes"),
    ],
)
def test_a_trial_whose_process_dies_or_hangs_is_run_again_in_another_one(
    pool: Pool, tmp_path: Path, kind: str, failure: Failure, reason: str
) -> None:
    script = Stubborn({"do": kind, "folder": str(tmp_path)}, {"do": "train"})
    pool(tmp_path, stall_s=3.0).run(script, work)
    lost, done = [outcome for number, outcome in script.told if number == 0]
    assert (lost.end, lost.failure, done.end) == (End.FAILED, failure, End.FINISHED)
    assert lost.reason.startswith(reason)
    assert script.outcome(1).end is End.FINISHED


@pytest.mark.ray
def test_each_of_them_is_told_once(processes: Script) -> None:
    assert [number for number, _ in processes.told] == list(range(len(PROCESSES)))


@pytest.mark.ray
def test_a_trial_with_one_cpu_computes_with_one_thread(processes: Script) -> None:
    assert processes.outcome(1).value == 1


@pytest.mark.ray
def test_two_trials_run_at_the_same_time(pool: Pool, tmp_path: Path) -> None:
    (folder := tmp_path / "meeting").mkdir()
    script = Script(*[{"do": "meet", "folder": str(folder)}] * 2)
    pool(tmp_path).run(script, work)
    assert [outcome.value for _, outcome in script.told] == [True, True]


@pytest.mark.ray
def test_a_trial_that_fits_on_no_node_is_refused_with_what_there_is(
    private_ray: None, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match=r"needs 3 CPUs .* has: 2 CPUs and 0 GPUs"):
        tune_runner(tmp_path, cpus=3).run(Script({}), work)


@pytest.mark.ray
def test_what_tune_cannot_repair_is_reported_with_what_to_do(
    private_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.exceptions import ObjectLostError

    from chorale.cluster.tune.controller import Controller

    def step(controller: Any) -> None:
        raise RuntimeError from ObjectLostError("0" * 56, None, "")

    monkeypatch.setattr(Controller, "step", step)
    with pytest.raises(ClusterError, match=r"ObjectLostError.*chorale sweep --resume"):
        tune_runner(tmp_path).run(Script({}), work)


@pytest.mark.ray
def test_workers_that_cannot_start_end_the_run(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chorale.cluster.local_workers.bridge.MAX_FAILED_STARTS", 2)
    script = Script(*[{}] * 10)
    with pytest.raises(ClusterError, match=r"could not start; .*a_module_that_is_nowhere"):
        pool(tmp_path).run(script, Unloadable())
    assert len(script.told) < 10


def test_processes_that_died_with_nothing_to_do_are_replaced(template: Path) -> None:
    class Killer(Script):
        """Once the first trial has ended there is nothing to try, and then its process is gone."""

        n_pauses = 0

        def ask(self, n: int) -> list[TrialSpec]:
            if not self.told:
                return super().ask(n) if not self.asked else []
            self.n_pauses += 1
            if self.n_pauses < 10:  # its process is let go
                return []
            if self.n_pauses == 10:
                os.kill(self.told[0][1].value, signal.SIGKILL)
                assert not _is_alive(self.told[0][1].value)
            return super().ask(n)

    script = Killer({"do": "pid"}, {"do": "pid"})
    process_runner(template, Path(), max_concurrent=1).run(script, work)
    first, second = [outcome for _, outcome in script.told]
    assert (first.end, second.end) == (End.FINISHED, End.FINISHED)
    assert first.value != second.value


def test_a_process_without_ray_finds_no_gpu(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    script = Script({"do": "visible_gpus"})
    process_runner(template, Path()).run(script, work)
    assert script.outcome(0).value == ""


def test_a_process_that_the_system_ended_ran_out_of_memory(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr("chorale.cluster.machine.n_killed", lambda: next(counts))
    script = Script({"do": "die"})
    process_runner(template, Path()).run(script, work)
    outcome = script.outcome(0)
    assert outcome.failure is Failure.OUT_OF_MEMORY
    assert outcome.reason == "out of memory: the system ended its process"
