"""Contract suite of `Runner`, run on each implementation, and that of runners with workers."""

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
from chorale.cluster.environment import THREAD_VARIABLES
from chorale.cluster.local import LocalRunner
from chorale.cluster.local_workers.fork_client import fork_server
from chorale.cluster.local_workers.runner import ProcessRunner

Payload = Mapping[str, Any]


class Script:
    """A fixed list of trials, and a record of all calls of the runner."""

    def __init__(self, *payloads: Payload) -> None:
        self.left = [TrialSpec(number, payload) for number, payload in enumerate(payloads)]
        self.asked: list[int] = []
        self.reports: list[tuple[int, int, Mapping[str, float]]] = []
        self.outcomes: list[tuple[int, Outcome]] = []

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
        self.outcomes.append((trial_id, outcome))

    def outcome(self, trial_id: int) -> Outcome:
        return dict(self.outcomes)[trial_id]

    def first_outcome(self, trial_id: int) -> Outcome:
        return next(outcome for number, outcome in self.outcomes if number == trial_id)

    def reports_of(self, trial_id: int) -> list[tuple[int, Mapping[str, float]]]:
        return [(step, metrics) for number, step, metrics in self.reports if number == trial_id]


class Unloadable:
    """A work function that can be pickled here, but not unpickled anywhere."""

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


def ignore_stop(spec: TrialSpec, report: Report) -> str:
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


def be_preempted_once(spec: TrialSpec, report: Report) -> int:
    from chorale.cluster import preemption
    from chorale.cluster.base import Preempted

    report(1, {})
    if _first_time(spec):
        asked = threading.Event()
        with preemption.calling(asked.set):
            os.kill(os.getpid(), signal.SIGTERM)
            if asked.wait(60):
                error = Preempted("preempted: its state is saved")
                error.add_note(f"in process {os.getpid()}")
                raise error
    return os.getpid()


def visible_gpus(spec: TrialSpec, report: Report) -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


def n_threads(spec: TrialSpec, report: Report) -> int:
    import torch

    return torch.get_num_threads()


def thread_limits(spec: TrialSpec, report: Report) -> set[str]:
    return {os.environ[name] for name in THREAD_VARIABLES}


def meet(spec: TrialSpec, report: Report) -> bool:
    """Waits until the other trial runs as well."""
    folder = Path(spec.payload["folder"])
    (folder / str(spec.trial_id)).touch()
    give_up = time.monotonic() + 150
    while len(list(folder.iterdir())) < 2 and time.monotonic() < give_up:
        time.sleep(0.02)
    return len(list(folder.iterdir())) == 2


WORK_FUNCTIONS: tuple[Work, ...] = (train, be_stopped, ignore_stop, diverge, fail, leave, predict)
WORK_FUNCTIONS += (
    echo,
    pid,
    exhaust,
    fail_once,
    hang_once,
    die_once,
    be_preempted_once,
    swallow,
    report_and_sleep,
    run_out_of_memory,
    die,
    visible_gpus,
    n_threads,
    thread_limits,
    meet,
)
BY_NAME = {function.__name__: function for function in WORK_FUNCTIONS}


def work(spec: TrialSpec, report: Report) -> Any:
    """Calls the work function that the payload names."""
    return BY_NAME[spec.payload["do"]](spec, report)


TUNE = [pytest.param(name, marks=pytest.mark.ray) for name in ("tune", "forked")]
POOLS = [*TUNE, "processes"]
RUNNERS = [*POOLS, "local"]
HEAVY = [pytest.mark.ray, pytest.mark.heavy]
FORKED = pytest.param("forked", marks=HEAVY)
"""What a runner does with `Trials` is the same code in "tune" and "forked".

All lists of parameters have the same order, so that pytest sets up each runner once.
"""
each_runner_once = pytest.mark.parametrize(
    "new_runner", [TUNE[0], FORKED, "processes", "local"], indirect=True
)
each_pool = pytest.mark.parametrize("new_runner", POOLS, indirect=True)
each_pool_once = pytest.mark.parametrize(
    "new_runner", [TUNE[0], FORKED, "processes"], indirect=True
)
NewRunner = Callable[..., Runner]


@pytest.fixture(scope="module")
def fork_socket() -> Iterator[Path | None]:
    """A fork server's socket."""
    with fork_server(("numpy",)) as socket:
        yield socket


@pytest.fixture(scope="module", params=RUNNERS)
def new_runner(request: pytest.FixtureRequest) -> NewRunner:
    """Makes runners: with Ray's workers, forked children of them, without Ray, or in-process."""
    if request.param == "local":
        return lambda *_, **__: LocalRunner()
    if request.param == "processes":
        return partial(process_runner, request.getfixturevalue("fork_socket"))
    request.getfixturevalue("private_ray")
    forked = request.param == "forked"
    socket = request.getfixturevalue("fork_socket") if forked else None
    return partial(tune_runner, fork_socket=socket)


def process_runner(
    fork_socket: Path, _: Path, *, max_concurrent: int = 1, stall_s: float | None = None
) -> Runner:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # processes cannot import tests
    return ProcessRunner(
        Resources(1.0), n_at_once=max_concurrent, fork_socket=fork_socket, stall_s=stall_s
    )


def tune_runner(
    storage: Path,
    *,
    max_concurrent: int = 1,
    cpus: float = 1.0,
    stall_s: float | None = None,
    fork_socket: Path | None = None,
) -> Runner:
    from ray import cloudpickle

    from chorale.cluster.tune.runner import TuneRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    return TuneRunner(
        Resources(cpus),
        max_concurrent=max_concurrent,
        storage=storage,
        stall_s=stall_s,
        fork_socket=fork_socket,
    )


TRIALS = ["pid 1", "thread_limits", "train", "be_stopped", "ignore_stop", "diverge", "fail"]
TRIALS += ["leave", "predict", "echo", "pid 2", "run_out_of_memory", "pid 3", "die", "pid 4"]
TRIALS += ["exhaust"]
"""One trial of each kind, in the order in which they run; the first word names its function."""
PAYLOAD = {"do": "echo", "x": (1, {"y": None})}


class Sweep(Script):
    """Runs TRIALS without those in `left_out`, one at a time."""

    def __init__(self, *, left_out: str = "") -> None:
        self.names = [name for name in TRIALS if name != left_out]
        payloads = [{"do": name.split()[0]} for name in self.names]
        super().__init__(*(PAYLOAD if one["do"] == "echo" else one for one in payloads))

    def outcome_of(self, name: str) -> Outcome:
        return self.outcome(self.names.index(name))

    def reports_of_trial(self, name: str) -> list[tuple[int, Mapping[str, float]]]:
        return self.reports_of(self.names.index(name))


@pytest.fixture(scope="module")
def sweep(new_runner: NewRunner, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """One trial of each kind, run; in this process none that ends its process."""
    runner = new_runner(storage := tmp_path_factory.mktemp("sweep"))
    script = Sweep(left_out="die" if isinstance(runner, LocalRunner) else "")
    runner.run(script, work)
    assert list(storage.iterdir()) == []
    return script


def test_the_outcome_of_every_trial_is_reported_exactly_once_and_in_order(sweep: Sweep) -> None:
    numbers = [number for number, _ in sweep.outcomes]
    assert numbers == sweep.asked == list(range(len(sweep.names)))


@pytest.mark.parametrize(
    ("kind", "end", "value"),
    [
        ("train", End.FINISHED, "continue continue continue"),
        ("be_stopped", End.STOPPED, {"stopped_at": 3}),
        ("ignore_stop", End.STOPPED, "stop stop stop"),
        ("fail", End.FAILED, None),
        ("leave", End.FAILED, None),
    ],
)
def test_an_outcome_has_the_end_and_the_value_of_its_trial(
    sweep: Sweep, kind: str, end: End, value: Any
) -> None:
    outcome = sweep.outcome_of(kind)
    assert (outcome.end, outcome.value) == (end, value)


@pytest.mark.parametrize(
    ("kind", "reason"), [("fail", "ValueError: loss is nowhere"), ("leave", "SystemExit: 3")]
)
def test_a_failure_has_a_reason_of_one_line_and_the_workers_traceback(
    sweep: Sweep, kind: str, reason: str
) -> None:
    outcome = sweep.outcome_of(kind)
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
def test_a_failure_has_its_kind(sweep: Sweep, kind: str, failure: Failure | None) -> None:
    assert sweep.outcome_of(kind).failure is failure


def test_reports_arrive_in_order_and_none_follows_a_stop(sweep: Sweep) -> None:
    assert [step for step, _ in sweep.reports_of_trial("train")] == [1, 2, 3]
    assert [step for step, _ in sweep.reports_of_trial("be_stopped")] == [1, 2, 3]
    assert [step for step, _ in sweep.reports_of_trial("ignore_stop")] == [1]


def test_metrics_that_are_not_finite_arrive_unchanged(sweep: Sweep) -> None:
    [(step, metrics)] = sweep.reports_of_trial("diverge")
    assert step == 1
    assert set(metrics) == {"loss", "norm"}
    assert math.isnan(metrics["loss"])
    assert metrics["norm"] == math.inf
    assert math.isnan(sweep.outcome_of("diverge").value)


def test_arrays_of_a_value_arrive_equal_and_writable(sweep: Sweep) -> None:
    value = sweep.outcome_of("predict").value
    np.testing.assert_array_equal(value["proba"], np.full((1000, 250), 0.5))
    value["proba"] += 1
    assert value["names"] == ["a", "b"]


def test_the_work_function_gets_the_payload_unchanged(sweep: Sweep) -> None:
    assert sweep.outcome_of("echo").value == PAYLOAD


@each_pool
def test_a_process_is_reused_for_many_trials_even_after_an_ordinary_failure(sweep: Sweep) -> None:
    assert sweep.outcome_of("pid 2").value == sweep.outcome_of("pid 1").value
    assert sweep.outcome_of("pid 1").value != os.getpid()


@each_pool
def test_running_out_of_memory_fails_the_trial_and_starts_a_new_process(sweep: Sweep) -> None:
    outcome = sweep.outcome_of("run_out_of_memory")
    assert (outcome.end, outcome.failure) == (End.FAILED, Failure.OUT_OF_MEMORY)
    assert outcome.reason == "MemoryError: no more of it"
    assert sweep.outcome_of("pid 3").value != sweep.outcome_of("pid 2").value


@each_pool
def test_a_worker_that_dies_fails_its_trial_and_is_replaced(sweep: Sweep) -> None:
    outcome = sweep.outcome_of("die")
    assert (outcome.end, outcome.failure) == (End.FAILED, Failure.LOST)
    assert outcome.reason.startswith("worker lost: ")
    assert "\n" not in outcome.reason
    assert sweep.outcome_of("pid 4").value != sweep.outcome_of("pid 3").value


@each_pool
def test_a_process_of_a_trial_with_one_cpu_has_a_limit_of_one_thread(sweep: Sweep) -> None:
    assert sweep.outcome_of("thread_limits").value == {"1"}


class Stubborn(Script):
    """Retries each failed trial under its number, and is done only after that."""

    def done(self) -> bool:
        return not self.left and len(self.outcomes) == len(self.asked)

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        if outcome.end is End.FAILED:
            spec = TrialSpec(trial_id, {**self.payloads[trial_id], "again": True})
            self.left.insert(0, spec)
        super().tell(trial_id, outcome)

    def __init__(self, *payloads: Payload) -> None:
        super().__init__(*payloads)
        self.payloads = payloads

    def ends_of(self, trial_id: int) -> list[End]:
        return [outcome.end for number, outcome in self.outcomes if number == trial_id]


RETRIED = [End.FAILED, End.FINISHED]


@pytest.mark.parametrize("new_runner", [FORKED, "processes"], indirect=True)
def test_a_trial_whose_process_is_asked_to_end_goes_on_in_another(
    new_runner: NewRunner, tmp_path: Path
) -> None:
    payloads = ({"do": "be_preempted_once", "folder": str(tmp_path)}, {"do": "pid"})
    script = Stubborn(*payloads)
    new_runner(tmp_path).run(script, work)
    assert script.ends_of(0) == RETRIED
    first = script.first_outcome(0)
    assert (first.failure, first.reason) == (Failure.PREEMPTED, "preempted: its state is saved")
    asked = int(first.traceback.rpartition("in process ")[2])
    assert asked not in (script.outcome(0).value, script.outcome(1).value)


@pytest.mark.parametrize(
    "new_runner",
    [pytest.param("tune", marks=HEAVY), FORKED, "processes", "local"],
    indirect=True,
)
def test_a_retry_of_the_last_trial_is_run_under_its_number(
    new_runner: NewRunner, tmp_path: Path
) -> None:
    script = Stubborn({"do": "train"}, {"do": "fail_once", "folder": str(tmp_path)})
    new_runner(tmp_path).run(script, work)
    assert script.ends_of(1) == RETRIED
    assert sorted(script.asked) == [0, 1, 1]


class Clock:
    """The module `time` of the dispatcher, which may be set forward."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


class Stalling(Stubborn):
    """Sets the clock forward when trial 0 hangs and all others have finished."""

    def __init__(self, clock: Clock, *payloads: Payload) -> None:
        super().__init__(*payloads)
        self.clock = clock

    def _wait(self) -> None:
        finished = {number for number, outcome in self.outcomes if outcome.end is End.FINISHED}
        if self.reports_of(0) and finished == set(range(1, len(self.payloads))):
            self.clock.ahead_s = 1000.0

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        decision = super().report(trial_id, step, metrics)
        self._wait()
        return decision

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        super().tell(trial_id, outcome)
        self._wait()


@pytest.fixture(scope="module")
def retried(new_runner: NewRunner, tmp_path_factory: pytest.TempPathFactory) -> Stalling:
    """A trial that hangs at its first attempt while one that dies and one that fails are retried.

    So two trials run at the same time, else it would never end.
    """
    folder, clock = tmp_path_factory.mktemp("retried"), Clock()
    kinds = ("hang_once", "die_once", "fail_once")
    script = Stalling(clock, *({"do": kind, "folder": str(folder)} for kind in kinds))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chorale.cluster.local_workers.dispatcher.time", clock)
        new_runner(folder, max_concurrent=2, stall_s=600.0).run(script, work)
    return script


@each_pool_once
@pytest.mark.parametrize(
    ("trial_id", "failure", "reason"),
    [
        (0, Failure.STALLED, "stalled: no report for 10 minutes"),
        (1, Failure.LOST, "worker lost: "),
        (2, Failure.RAISED, "ValueError: no luck"),
    ],
    ids=["hangs", "dies", "fails"],
)
def test_a_trial_that_fails_or_whose_process_dies_or_hangs_is_retried(
    retried: Stalling, trial_id: int, failure: Failure, reason: str
) -> None:
    assert retried.ends_of(trial_id) == RETRIED
    lost = retried.first_outcome(trial_id)
    assert lost.failure is failure
    assert lost.reason.startswith(reason)


@each_runner_once
def test_no_trial_is_asked_for_when_trials_are_done_from_the_start(
    new_runner: NewRunner, tmp_path: Path
) -> None:
    script = Script()
    new_runner(tmp_path).run(script, work)
    assert (script.asked, script.outcomes) == ([], [])


class Hesitant(Script):
    """Has no trial available at first, though none is running.

    Gives the second half of its trials only after the first half has ended.
    """

    n_hesitations, n_asks = 2, 0

    def ask(self, n: int) -> list[TrialSpec]:
        if self.n_hesitations:
            self.n_hesitations -= 1
            return []
        self.n_asks += 1
        wait = len(self.asked) >= 2 and len(self.outcomes) < 2
        return [] if wait else super().ask(n)


@pytest.fixture(scope="module")
def hesitant(new_runner: NewRunner, tmp_path_factory: pytest.TempPathFactory) -> Hesitant:
    """Two trials, and after them two that wait for each other where several run at once."""
    runner = new_runner(tmp_path_factory.mktemp("tune"), max_concurrent=2)
    kind = "train" if isinstance(runner, LocalRunner) else "meet"
    last = {"do": kind, "folder": str(tmp_path_factory.mktemp("meeting"))}
    script = Hesitant({"do": "report_and_sleep", "sleep_s": 1.0}, {"do": "train"}, last, last)
    runner.run(script, work)
    return script


@each_runner_once
def test_when_no_trial_is_available_and_none_runs_the_runner_asks_again(
    hesitant: Hesitant,
) -> None:
    assert hesitant.n_hesitations == 0
    assert hesitant.outcome(0).end is End.FINISHED


@each_runner_once
def test_when_no_trial_is_available_the_runner_waits_for_a_running_one(
    hesitant: Hesitant,
) -> None:
    assert sorted(number for number, _ in hesitant.outcomes) == [0, 1, 2, 3]
    assert hesitant.n_asks < 10


@each_pool_once
def test_two_trials_run_at_the_same_time(hesitant: Hesitant) -> None:
    assert [hesitant.outcome(number).value for number in (2, 3)] == [True, True]


class Broken(Script):
    """Raises in one of its methods, as with a full disk under the ledger."""

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


@each_runner_once
@pytest.mark.parametrize("method", ["ask", "report", "tell"])
def test_an_error_raised_by_the_trials_object_ends_the_run(
    new_runner: NewRunner, tmp_path: Path, method: str
) -> None:
    script = Broken(method, *[{"do": "swallow"}] * 5)
    with pytest.raises(OSError, match="no space left"):
        new_runner(tmp_path).run(script, work)
    assert script.outcomes == []
    assert script.asked == ([] if method == "ask" else [0])


class Interrupted(Script):
    """Sends SIGINT soon after trial 0 began to sleep."""

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        if trial_id == 0:
            threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        return super().report(trial_id, step, metrics)


def test_ctrl_c_ends_the_run_at_once_without_an_outcome_of_the_running_trial(
    new_runner: NewRunner, tmp_path: Path
) -> None:
    runner = new_runner(tmp_path, max_concurrent=2)
    script = Interrupted(*[{"do": "report_and_sleep", "sleep_s": 200.0}] * 2)
    is_in_this_process = isinstance(runner, LocalRunner)
    with pytest.raises(KeyboardInterrupt):
        runner.run(script, work)
    assert script.outcomes == []
    [(_, metrics)] = script.reports_of(0)
    assert is_in_this_process or not _is_alive(int(metrics["pid"]))


def _is_alive(process_id: int) -> bool:
    """Whether a process still runs after a few seconds in which it may end."""
    for _ in range(50):
        if not Path(f"/proc/{process_id}").exists():
            return False
        time.sleep(0.1)
    return True


def test_lightnings_exit_on_ctrl_c_is_an_interrupt_too() -> None:
    def exit_gracefully(spec: TrialSpec, report: Report) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    script = Script({}, {})
    with pytest.raises(KeyboardInterrupt):
        LocalRunner().run(script, exit_gracefully)
    assert script.outcomes == []


def test_runners_on_one_machine_and_the_contract_need_no_ray() -> None:
    names = ("base", "local", "transfer.maps", "local_workers.runner")
    modules = ", ".join(f"chorale.cluster.{name}" for name in names)
    code = f"import sys, {modules}; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.ray
def test_when_every_node_has_ended_the_error_gives_the_reason_and_how_to_go_on(
    private_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    dead = {"Alive": False, "Resources": {}, "DeathReasonMessage": "the agent failed."}
    monkeypatch.setattr(ray, "nodes", lambda: [dead])
    script = Script({"do": "echo"})
    with pytest.raises(
        ClusterError, match=r"ended \(the agent failed\); .* chorale sweep --resume"
    ):
        tune_runner(tmp_path).run(script, work)
    assert script.outcomes == []


@pytest.mark.ray
def test_a_trial_that_fits_on_no_node_is_refused_with_the_available_resources(
    private_ray: None, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match=r"needs 3 CPUs .* has: 2 CPUs and 0 GPUs"):
        tune_runner(tmp_path, cpus=3).run(Script({}), work)


@pytest.mark.ray
def test_an_error_that_tune_cannot_recover_from_is_reported_with_a_command(
    private_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.exceptions import ObjectLostError

    from chorale.cluster.tune.controller import Controller

    def step(controller: Any) -> None:
        raise RuntimeError from ObjectLostError("0" * 56, None, "")

    monkeypatch.setattr(Controller, "step", step)
    with pytest.raises(ClusterError, match=r"ObjectLostError.*chorale sweep --resume"):
        tune_runner(tmp_path).run(Script({}), work)


@each_pool_once
def test_workers_that_cannot_start_end_the_run(
    new_runner: NewRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chorale.cluster.local_workers.dispatcher.MAX_FAILED_STARTS", 1)
    script = Script(*[{}] * 10)
    with pytest.raises(ClusterError, match=r"could not start; .*a_module_that_is_nowhere"):
        new_runner(tmp_path).run(script, Unloadable())
    assert len(script.outcomes) < 10


def test_a_process_that_died_while_idle_is_replaced(fork_socket: Path) -> None:
    class Killer(Script):
        """After the first trial, has none available for a while, then kills the idle process."""

        n_pauses = 0

        def ask(self, n: int) -> list[TrialSpec]:
            if not self.outcomes:
                return super().ask(n) if not self.asked else []
            self.n_pauses += 1
            if self.n_pauses < 10:  # its process becomes idle
                return []
            if self.n_pauses == 10:
                os.kill(self.outcomes[0][1].value, signal.SIGKILL)
                assert not _is_alive(self.outcomes[0][1].value)
            return super().ask(n)

    script = Killer({"do": "pid"}, {"do": "pid"})
    process_runner(fork_socket, Path()).run(script, work)
    first, second = [outcome for _, outcome in script.outcomes]
    assert (first.end, second.end) == (End.FINISHED, End.FINISHED)
    assert first.value != second.value


def test_a_process_without_ray_sees_no_gpu_and_torch_has_one_thread(
    fork_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    script = Script({"do": "visible_gpus"}, {"do": "n_threads"})
    process_runner(fork_socket, Path()).run(script, work)
    assert script.outcome(0).value == ""
    assert script.outcome(1).value == 1


def test_a_process_that_the_system_killed_counts_as_out_of_memory(
    fork_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr("chorale.cluster.machine.n_oom_kills", lambda: next(counts))
    script = Script({"do": "die"})
    process_runner(fork_socket, Path()).run(script, work)
    outcome = script.outcome(0)
    assert outcome.failure is Failure.OUT_OF_MEMORY
    assert outcome.reason == "out of memory: the system killed its process"
