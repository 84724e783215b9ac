"""The ledger, on SQLite and on PostgreSQL."""

import multiprocessing
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chorale.datasets.errors import UserError
from chorale.search import interrupts
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.reader import LedgerReader


@pytest.fixture
def make(ledger_url: str) -> Iterator[Callable[[], Ledger]]:
    """Opens the ledger again, as another process would."""
    opened: list[Ledger] = []

    def ledger() -> Ledger:
        opened.append(Ledger(ledger_url))
        return opened[-1]

    yield ledger
    for one in opened:
        one.close()


@pytest.fixture
def ledger(make: Callable[[], Ledger]) -> Ledger:
    return make()


def test_a_copy_of_the_file_alone_holds_every_study(tmp_path: Path) -> None:
    """The last connection to be closed only read, so the tables stayed in the write-ahead log."""
    file, copy = tmp_path / "chorale.db", tmp_path / "backup.db"
    ledger = Ledger(f"sqlite:///{file}")
    ledger.create("a", {"split": "x"})
    with LedgerReader(f"sqlite:///{file}") as reader:  # as `chorale status` beside it
        reader.studies()
        ledger.close()
        shutil.copy(file, copy)
    with LedgerReader(f"sqlite:///{copy}") as reader:
        assert reader.studies() == ["a"]


def test_another_process_reads_a_recorded_row(make: Callable[[], Ledger]) -> None:
    first = make()
    first.create("a", {"split": "x"})
    row = Row("3", "FAIL", "diverged: loss is nan", {"architecture": "cnn"})
    first.record("a", "search", row)
    second = make()
    assert second.rows("a", "search") == {"3": row} == first.rows("a", "search")
    assert second.rows("a", "finalists") == {}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("naïve ☃ 'quoted' \"twice\" %s {x} -- ; \\", "naïve ☃ 'quoted' \"twice\" %s {x} -- ; \\"),
        ("nul \0 inside", "nul \\0 inside"),
        ("a file named \udcff", "a file named \\udcff"),
        ("long " * 40_000, "long " * 40_000),
    ],
    ids=["odd", "nul", "surrogate", "long"],
)
def test_any_text_is_stored(make: Callable[[], Ledger], given: str, kept: str) -> None:
    facts = {"text": given, "nested": [{"x": 1.5, "é": None}], "nan": [1e300, -0.0]}
    make().record("naïve study; '%s'", "search", Row("0", "FAIL", given, facts))
    assert make().rows("naïve study; '%s'", "search") == {"0": Row("0", "FAIL", kept, facts)}


def test_ctrl_c_during_a_commit_keeps_the_row_and_the_lease_can_be_released(
    make: Callable[[], Ledger],
) -> None:
    """Likely on a busy machine: a user waits for a row, sees it, and types Ctrl-C."""
    ledger, before = make(), signal.getsignal(signal.SIGINT)
    ledger.create("a", {})
    sa.event.listen(
        ledger._database._durable, "commit", lambda _: signal.raise_signal(signal.SIGINT), once=True
    )
    interrupts.install_handlers()
    try:
        with pytest.raises(KeyboardInterrupt):
            ledger.record("a", "search", Row("1", "COMPLETE"))
        ledger.release("a", "interrupted", spent_s=1.0)
    finally:
        interrupts.finish()
        signal.signal(signal.SIGINT, before)
    assert list(make().rows("a", "search")) == ["1"]
    assert make().study("a").state == "interrupted"


def test_recording_again_replaces_the_row(ledger: Ledger) -> None:
    ledger.record("a", "search", Row("1", "FAIL", "lost"))
    ledger.record("a", "search", Row("1", "COMPLETE"))
    assert [row.state for row in ledger.rows("a", "search").values()] == ["COMPLETE"]


def test_an_observer_gets_each_row_and_the_duration_of_each_commit(ledger_url: str) -> None:
    class Observer:
        commits, rows = list[tuple[float, bool]](), list[tuple[str, Row]]()

        def committed(self, duration_s: float, *, durable: bool) -> None:
            self.commits.append((duration_s, durable))

        def recorded(self, stage: str, row: Row) -> None:
            self.rows.append((stage, row))

    observer = Observer()
    with Ledger(ledger_url, observer=observer) as ledger:
        ledger.create("a", {})
        observer.commits.clear()
        ledger.record("a", "search", Row("3", "FAIL", "nul \0", {"of": (1, 2)}))
        assert observer.rows == [("search", ledger.rows("a", "search")["3"])]
        assert [durable for _, durable in observer.commits] == [True]
        assert all(duration_s > 0 for duration_s, _ in observer.commits)
        with pytest.raises(TypeError):
            ledger.record("a", "search", Row("4", "COMPLETE", facts={"of": object()}))
        assert (len(observer.rows), len(observer.commits)) == (1, 1), "nothing was committed"


def test_cached_rows_are_those_of_the_database(make: Callable[[], Ledger]) -> None:
    ledger = make()
    ledger.create("a", {})
    assert ledger.rows("a", "search") == {}
    ledger.record("a", "search", Row("1", "FAIL", "lost", {"x": (1, 2)}))
    ledger.record("a", "search", Row("2", "COMPLETE"))
    ledger.record("a", "search", Row("1", "COMPLETE", facts={"x": (3, 4)}))
    assert ledger.rows("a", "search") == make().rows("a", "search")
    ledger.rows("a", "search").clear()
    assert len(ledger.rows("a", "search")) == 2, "the caller gets a copy"


def test_creating_an_existing_study_is_refused(ledger: Ledger) -> None:
    ledger.create("a", {})
    with pytest.raises(UserError, match=r"exists already.*--resume.*--name a-2"):
        ledger.create("a", {})


def test_a_too_long_name_is_refused(ledger: Ledger) -> None:
    with pytest.raises(UserError, match="may have 255 characters, but this one has 300"):
        ledger.create("n" * 300, {})


def test_resuming_a_changed_study_names_what_was_changed(ledger: Ledger) -> None:
    ledger.create("a", {"split": "x", "space": {"lr": "wide"}})
    ledger.release("a", "interrupted", spent_s=1.0)
    with pytest.raises(UserError, match="another space;"):
        ledger.reopen("a", {"split": "x", "space": {"lr": "narrow"}})
    assert ledger.state("a") == "interrupted"
    ledger.reopen("a", {"split": "x", "space": {"lr": "wide"}})
    assert ledger.state("a") == "running"


def test_time_spent_adds_up_over_sessions(ledger: Ledger) -> None:
    ledger.create("a", {})
    ledger.release("a", "interrupted", spent_s=2.0)
    ledger.reopen("a", {})
    ledger.release("a", "complete", spent_s=3.0)
    assert ledger.spent_s("a") == 5.0


def test_time_before_the_study_was_opened_counts_where_its_owner_died(ledger: Ledger) -> None:
    ledger.create("a", {}, before_s=60.0)
    ledger.reopen("a", {}, before_s=30.0)  # the first session did not release it
    assert 60.0 <= ledger.spent_s("a") < 70.0
    assert 90.0 <= ledger.study("a").spent_s < 100.0


def test_test_looks_are_counted_over_all_studies_of_a_split(ledger: Ledger) -> None:
    assert [
        ledger.count_test_look("a", "s"),
        ledger.count_test_look("b", "s"),
        ledger.count_test_look("b", "other"),
    ] == [1, 2, 1]


def test_two_studies_in_one_ledger_are_independent(make: Callable[[], Ledger]) -> None:
    first, second = make(), make()
    first.create("a", {})
    second.create("b", {})
    for number in range(3):
        first.record("a", "search", Row(str(number), "COMPLETE"))
        second.record("b", "search", Row(str(number), "PRUNED"))
    first.release("a", "complete", spent_s=1.0)
    assert {row.state for row in make().rows("b", "search").values()} == {"PRUNED"}
    assert (make().state("a"), make().state("b")) == ("complete", "running")


def test_studies_of_one_second_are_listed_newest_first(
    make: Callable[[], Ledger], ledger_url: str
) -> None:
    for name in ("first", "second", "third"):
        make().create(name, {})
    reader = LedgerReader(ledger_url)
    try:
        assert [one.name for one in reader.all_studies()] == ["third", "second", "first"]
    finally:
        reader.close()


def test_a_reader_sees_all_studies_and_running_trials(
    make: Callable[[], Ledger], ledger_url: str
) -> None:
    import optuna

    ledger = make()
    ledger.create("a", {}, about={"dataset": "gtzan"})
    ledger.create("b", {})
    ledger.release("b", "complete", spent_s=7.0)
    study = optuna.create_study(study_name="a", storage=ledger.optuna)
    study.ask()
    study.tell(study.ask(), 0.5)
    reader = LedgerReader(ledger_url)
    try:
        assert {one.name for one in reader.all_studies()} == {"a", "b"} == set(reader.studies())
        assert reader.study("a").about == {"dataset": "gtzan"}
        assert (reader.study("b").state, reader.study("b").spent_s) == ("complete", 7.0)
        assert (reader.n_running("a"), reader.n_running("b")) == (1, 0)
        with pytest.raises(UserError, match="unknown study 'c'"):
            reader.study("c")
    finally:
        reader.close()


def _race(url: str, start: Any, results: Any) -> None:
    start.wait()
    try:
        ledger = Ledger(url)
        ledger.create("a", {})
        for key in range(5):
            ledger.record("a", "search", Row(str(key), "COMPLETE"))
        results.put("won")
    except UserError as error:
        results.put(str(error))
    except BaseException as error:
        results.put(repr(error))


def test_of_processes_that_create_one_study_at_the_same_time_one_wins(
    ledger_url: str, make: Callable[[], Ledger]
) -> None:
    multiprocessing.set_forkserver_preload(["chorale.search.ledger.ledger"])
    context = multiprocessing.get_context("forkserver")
    start, results = context.Event(), context.Queue()
    racers = [context.Process(target=_race, args=(ledger_url, start, results)) for _ in range(3)]
    for racer in racers:
        racer.start()
    start.set()
    found = sorted(results.get(timeout=100) for _ in racers)
    for racer in racers:
        racer.join()
    assert [one for one in found if one == "won"] == ["won"], found
    assert all("exists already (running)" in one for one in found if one != "won"), found
    assert len(make().rows("a", "search")) == 5


def test_a_test_look_whose_reply_was_lost_counts_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ledger._database.write

    def lost_reply(work: Callable[..., Any], **more: Any) -> Any:
        real(work, **more)  # committed, but the caller gets no reply
        return real(work, **more)

    monkeypatch.setattr(ledger._database, "write", lost_reply)
    assert [ledger.count_test_look("a", "s"), ledger.count_test_look("a", "s")] == [1, 2]
