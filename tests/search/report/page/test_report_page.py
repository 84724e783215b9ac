"""`chorale report`: a self-contained, escaped HTML page, without evaluating the test set again."""

import base64
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest
import soundfile

from chorale.search.cli import main
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.reader import LedgerReader
from chorale.search.paths import Runs, StudyPaths
from chorale.search.report.charts.script import chart_script
from chorale.search.report.data.hardest import HardTrack
from chorale.search.report.data.study_data import collect_study_data
from chorale.search.report.page import sentences
from chorale.search.report.page.page import render_page

ODD = ("<script>alert(1)</script>", '"& rock', "é jazz", "pop")
"""Labels as a hostile folder may give them."""

VOID = {"meta", "br", "link", "img", "input", "hr"}
LOADING = ("src", "srcset", "poster", "data", "xlink:href")
N_TRIALS = 24


@dataclass
class Page(HTMLParser):
    """A parsed page; elements that were never closed are in `open` at the end."""

    open: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    n_bare_heads: int = 0
    n_scripts: int = 0
    n_charts: int = 0
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.wrong += [key for key in given if key.startswith("on")]
        self.loads += [given[key] for key in (*LOADING, "href") if key in given and tag != "a"]
        if tag == "a":
            inside = given["href"].startswith("#")
            (self.anchors if inside else self.links).append(given["href"].removeprefix("#"))
        self.ids += [given["id"]] if "id" in given else []
        self.anchors += given.get("aria-labelledby", "").split()
        self.anchors += given.get("aria-describedby", "").split()
        self.n_scripts += tag == "script" and given.get("type") != "application/json"
        self.n_charts += given.get("class") == "chart"
        self.n_bare_heads += tag == "th" and "scope" not in given
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(html: str) -> Page:
    """Parses `html`, which must be well-formed and must not load anything from a network."""
    found = Page()
    found.feed(html)
    found.close()
    assert found.open == []
    assert found.wrong == []
    assert len(found.ids) == len(set(found.ids))
    assert set(found.anchors) <= set(found.ids)
    assert found.n_bare_heads == 0
    assert found.counts.get("table", 0) == found.counts.get("caption", 0)
    assert found.counts["script"] - found.n_scripts == found.n_charts, "each has a specification"
    assert [url for url in found.loads if re.match(r"(https?:)?//", url)] == []
    assert all(url.startswith(("https://", "file:")) or "/" in url for url in found.links)
    assert not re.search(r"url\(|@import", without_scripts(html))
    assert found.n_scripts == 2, "its own, and that of the charts"
    return found


def without_scripts(html: str) -> str:
    return re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)


def _search(ledger: Ledger, name: str, *, n_finalists: int) -> None:
    """A search of two architectures where the learning rate matters, with pruned and failed trials.

    It also completes the rows of the finalists, which the synthetic study has already.
    """
    study = optuna.create_study(study_name=name, storage=ledger.optuna, direction="maximize")
    for number in range(N_TRIALS):
        trial = study.ask()
        kind = trial.suggest_categorical("architecture", ("cnn", "recurrent"))
        params = {
            "architecture": kind,
            "train.lr": trial.suggest_float("train.lr", 1e-4, 1e-2, log=True),
            f"{kind}.width": trial.suggest_int(f"{kind}.width", 8, 64),
        }
        value = 0.9 - abs(trial.params["train.lr"] - 3e-3) * 50
        state = "COMPLETE" if number < n_finalists or number % 4 else "PRUNED"
        state = "FAIL" if number == N_TRIALS - 1 else state
        for epoch in range(1, 4):
            trial.report(value * epoch / 3, epoch)
        facts = {"architecture": kind, "features": "mel", "params": params, "elapsed_s": 2.0}
        if state != "FAIL":
            facts |= {"metrics": {"accuracy": value}, "epoch": 3, "n_parameters": 1000 + number}
        reason = "Diverged: <b>the loss is nan</b>" if state == "FAIL" else ""
        ledger.record(name, "search", Row(str(number), state, reason, facts))
        final = value if state == "COMPLETE" else None
        study.tell(trial, final, state=optuna.trial.TrialState[state])


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, load_benchmark: Callable[[str], ModuleType]
) -> StudyPaths:
    """A finished and scored study of four finalists, 160 tracks and four oddly named classes."""
    runs = tmp_path_factory.mktemp("runs")
    sweep = load_benchmark("bench_ensembles").make_study(
        runs, n_members=4, n_tracks=160, n_classes=4, width=4, ensemble={"kinds": ("greedy",)}
    )
    paths = StudyPaths(runs / sweep.name)
    truth = json.loads(paths.ground_truth_json.read_text())
    paths.ground_truth_json.write_text(json.dumps({**truth, "class_names": ODD}))
    ledger = Ledger(sweep.ledger_url)
    ledger.reopen(sweep.name, {}, take_over=True)
    _search(ledger, sweep.name, n_finalists=4)
    ledger.release(sweep.name, "complete", spent_s=61.0)
    ledger.close()
    assert main(["ensemble", sweep.name, "--runs", str(runs)]) == 0
    return paths


@pytest.fixture
def study(made: StudyPaths, tmp_path: Path) -> StudyPaths:
    """A copy that a test may change."""
    shutil.copytree(made.root.parent, tmp_path / "runs")
    return StudyPaths(tmp_path / "runs" / made.root.name)


@pytest.fixture(scope="module")
def reported(made: StudyPaths, tmp_path_factory: pytest.TempPathFactory) -> StudyPaths:
    """A copy with a report, which tests only read."""
    runs = shutil.copytree(made.root.parent, tmp_path_factory.mktemp("reported") / "runs")
    paths = StudyPaths(runs / made.root.name)
    assert run(paths) == 0
    return paths


def run(paths: StudyPaths, *args: str) -> int:
    return main(["report", paths.root.name, "--runs", str(paths.root.parent), *args])


def n_looks(paths: StudyPaths) -> int:
    ledger = LedgerReader(Runs(paths.root.parent).ledger_url)
    try:
        return ledger.n_looks_of([paths.root.name])
    finally:
        ledger.close()


def test_page_and_console_begin_with_the_test_accuracy(
    study: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study) == 0
    out = " ".join(capsys.readouterr().out.split())
    found = read(study.report_html.read_text())
    headline = re.compile(
        r"Test accuracy [\d.]+ % \(95 % CI [\d.]+ to [\d.]+\) on 32 held-out tracks, "
        r"\w+ ensemble of [^;]+; best single trial [\d.]+ %"
    )
    first = headline.search(found.text)
    assert first is not None
    assert first.start() < found.text.index("Every ensemble and baseline")
    assert headline.search(out)
    assert f"Read it in a browser: {study.report_html}" in out
    for text in (
        "Validation accuracy",
        "expected test accuracy",
        "The test set has been evaluated once.",
        "Optimism (validation minus test)",
        "on held-out groups",
        "24 trials: 18 done, 5 pruned, 1 failed",
        "Diverged: <b>the loss is nan</b>",
        "Confusion matrix",
        "Most confused pairs",
        "Calibration (reliability diagram)",
        "Temperature scaling",
        "Conformal prediction sets",
        "Hyperparameter importance",
        "architecture",
        "PED-ANOVA",
        "Hardest tracks",
        "The audit found no broken, silent, duplicate or leaking track.",
        "not measured",
        "chorale sweep",
        "--name banked-again",
    ):
        assert text in found.text, text
    for key in (
        "forest", "accuracy-by-split", "members", "confusion-test", "confusion-out-of-fold",
        "reliability", "set-sizes", "history", "architectures", "curves", "importance",
        "parallel-all", "parallel-own-0", "cost",
    ):  # fmt: skip
        assert f"{key}-title" in found.ids, key


def test_names_are_escaped_everywhere(reported: StudyPaths) -> None:
    html = reported.report_html.read_text()
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 5
    assert '"& rock' not in html
    text = read(html).text
    assert all(name in text for name in ODD)


def test_nothing_is_trained_or_evaluated_and_report_json_only_gains_keys(study: StudyPaths) -> None:
    before = json.loads(study.report_json.read_text())
    looks = n_looks(study)
    weights = {path: path.read_bytes() for path in study.root.rglob("*.safetensors")}
    assert looks == before["test_looks"] == 1
    assert run(study) == 0
    after = json.loads(study.report_json.read_text())
    assert n_looks(study) == looks
    # `chorale ensemble` wrote all keys already; the copy is in another folder
    assert after.pop("command") != before.pop("command")
    assert after == before
    assert {path: path.read_bytes() for path in study.root.rglob("*.safetensors")} == weights
    derived = {key: after.pop(key) for key in ("confusion", "reliability", "hardest", "importance")}
    assert sum(map(sum, derived["confusion"]["test"])) == after["ensemble"]["test"]["n"]
    assert sum(derived["importance"]["shares"].values()) == pytest.approx(1)
    # the report of an older version lacks these keys, and gains them
    study.report_json.write_text(json.dumps(after))
    assert run(study) == 0
    again = json.loads(study.report_json.read_text())
    assert again.pop("command")
    assert again == before


def test_the_confusion_matrix_has_the_test_accuracy_and_the_class_counts(
    reported: StudyPaths,
) -> None:
    found = json.loads(reported.report_json.read_text())
    counts = found["confusion"]["test"]
    right = sum(counts[i][i] for i in range(4))
    assert right / 32 == pytest.approx(found["ensemble"]["test"]["accuracy"])
    for row, name in zip(counts, ODD, strict=True):
        assert sum(row) == found["per_class"][name]["n"]


def test_the_hardest_tracks_are_development_tracks_only(reported: StudyPaths) -> None:
    split = json.loads(reported.split_json.read_text())
    hard = json.loads(reported.report_json.read_text())["hardest"]
    assert 0 < len(hard) <= 20
    assert not {one["track"] for one in hard} & set(split["test_ids"])
    assert all(one["true"] != one["said"] for one in hard)
    wrong = [one["n_wrong"] for one in hard]
    assert wrong == sorted(wrong, reverse=True)
    assert wrong[0] == hard[0]["n_models"] == 4


def test_the_page_plays_audio_from_the_dataset_files(study: StudyPaths, tmp_path: Path) -> None:
    assert run(study) == 0
    hard = [one["track"] for one in json.loads(study.report_json.read_text())["hardest"]]
    inside = study.root.parent / 'audio & "more"' / "a b#1.wav"
    outside = tmp_path / "else where" / "b.wav"
    other = tmp_path / "else where" / "c.au"
    for path in (inside, outside, other):
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, [0.0] * 80, 8000)
    missing = tmp_path / "missing.wav"
    files = dict(zip(hard, map(str, (inside, outside, other, missing)), strict=False))
    study.audio_json.write_text(json.dumps(files))
    assert run(study) == 0
    html = study.report_html.read_text()
    found = read(html)
    assert found.counts["audio"] == 2
    assert 'src="../audio%20%26%20%22more%22/a%20b%231.wav"' in html
    assert f'src="file://{tmp_path}/else%20where/b.wav"' in html
    assert f"file://{tmp_path}/else%20where/c.au" in found.links, "browsers do not play this format"
    assert found.text.count("not here") == len(hard) - 3


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (None, "the study has no list of audio files"),
        ({}, "the dataset is a table of features"),
        ("/nowhere/{}.wav", "the audio is not on this machine"),
        (__file__, "the dataset's files are not audio"),
    ],
)
def test_without_audio_players_the_page_gives_the_reason(
    study: StudyPaths, files: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if files is not None:
        ids = json.loads(study.ground_truth_json.read_text())["tracks"]
        kept = files or {} if not isinstance(files, str) else {t: files.format(t) for t in ids}
        study.audio_json.write_text(json.dumps(kept))
    assert run(study) == 0
    found = read(study.report_html.read_text())
    assert reason in found.text
    assert "audio" not in found.counts
    assert reason in " ".join(capsys.readouterr().out.split())


def test_a_study_without_a_test_accuracy_has_a_page(study: StudyPaths) -> None:
    for path in (
        study.report_json,
        study.ground_truth_json,
        study.chosen_predictions,
        study.sweep_yaml,
    ):
        path.unlink()
    assert run(study) == 0
    found = read(study.report_html.read_text())
    assert "24 trials have ended; the best, trial" in found.text
    assert "Nothing has been evaluated on the locked test set yet" in found.text
    assert "the study has not stored the labels of its tracks yet." in found.text
    assert "history-title" in found.ids
    assert "forest-title" not in found.ids
    assert not study.report_json.exists(), "no partial report is written"


def test_a_study_without_a_trial_has_a_page(tmp_path: Path) -> None:
    ledger = Ledger(Runs(tmp_path).ledger_url)
    ledger.create("empty", {}, about={"dataset": "gtzan"})
    ledger.close()
    assert main(["report", "empty", "--runs", str(tmp_path)]) == 0
    found = read(StudyPaths(tmp_path / "empty").report_html.read_text())
    assert "No trial has ended yet." in found.text
    assert "The study is not finished; its state is" in found.text


def test_a_study_of_an_older_version_names_the_missing_predictions(
    study: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    study.chosen_predictions.unlink()
    assert run(study) == 0
    text = read(study.report_html.read_text()).text
    assert "The ensemble's predictions were not stored" in text
    assert "Per-class scores" in text, "which the report has"
    assert "chorale ensemble banked" in capsys.readouterr().out


def test_a_study_with_new_trials_since_the_report_keeps_its_report_and_the_page_says_so(
    study: StudyPaths,
) -> None:
    before = json.loads(study.report_json.read_text())
    before["trials"] = {"complete": 18, "pruned": 5, "failed": 0, "per_architecture": {}}
    study.report_json.write_text(json.dumps(before))
    assert run(study) == 0
    text = read(study.report_html.read_text()).text
    assert "The study has run more trials since it was scored" in text
    assert json.loads(study.report_json.read_text()) == before


def test_with_a_second_objective_the_page_shows_the_pareto_front(study: StudyPaths) -> None:
    ledger = Ledger(Runs(study.root.parent).ledger_url)
    about = {"objective": "accuracy", "second": "n_parameters"}
    ledger.reopen("banked", {}, about=about, take_over=True)
    ledger.release("banked", "complete", spent_s=1.0)
    ledger.close()
    assert run(study) == 0
    found = read(study.report_html.read_text())
    assert "pareto-title" in found.ids
    assert "n_parameters" in found.text


def test_with_few_trials_importance_is_not_computed(study: StudyPaths) -> None:
    data = _study_data(study, drop=10)
    assert data.importance.shares == {}
    text = read(render_page(data, summary="x")).text
    assert "14 trials are too few: at least 20 are needed." in text


def test_hostile_names_of_tracks_and_studies_are_harmless(study: StudyPaths) -> None:
    data = _study_data(study)
    odd = "a\udcff\0<img src=x onerror=alert(1)>\u202e'\""
    hard = HardTrack(odd, odd, odd, odd, 1, 1, 0.1)
    info = dataclasses.replace(data.info, name=odd)
    problem = {"track_id": odd, "problem": odd, "outcome": odd, "detail": odd}
    data = dataclasses.replace(data, info=info, hardest=((hard, None),), problems=(problem,) * 60)
    html = render_page(data, summary=odd)
    html.encode()
    found = read(html)
    assert "img" not in found.counts
    assert "\0" not in html
    assert "The first 50 of 60 findings" in found.text


def test_the_page_has_a_bounded_size(reported: StudyPaths) -> None:
    html = reported.report_html.read_text()
    assert len(without_scripts(html)) < 400_000
    assert len(html) - len(without_scripts(html)) < 900_000, "the script stands in it once"


def test_the_methods_cite_what_computes_the_intervals(reported: StudyPaths) -> None:
    html = reported.report_html.read_text(encoding="utf-8")
    methods = html[html.index("<h3>Methods</h3>") :]
    assert "10.1093/biomet/26.4.404" in methods  # as `statistics.intervals` says
    assert "Efron" not in methods


def test_a_page_allows_no_script_but_its_own(reported: StudyPaths) -> None:
    html = reported.report_html.read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)
    assert "default-src 'none'" in policy
    [allowed] = re.findall(r"script-src ([^;]+);", policy)
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    ]
    assert allowed.split() == [f"'sha256-{one}'" for one in hashes]


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["report"], "type: chorale report STUDY", 2),
        (["report", "bankd"], "did you mean 'banked'?", 1),
        (["report", "banked", "--opne"], "did you mean '--open'?", 2),
    ],
)
def test_a_user_error_is_one_clear_line(
    study: StudyPaths,
    args: list[str],
    message: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*args, "--runs", str(study.root.parent)]) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_damaged_report_is_one_clear_line(
    study: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    study.report_json.write_text("{")
    assert run(study) == 1
    error = capsys.readouterr().err
    assert "cannot be read" in error
    assert len(error.splitlines()) == 1


def test_the_command_imports_neither_torch_nor_ray(study: StudyPaths) -> None:
    code = (
        "import sys; from chorale.search.cli import main\n"
        f"main(['report', 'banked', '--runs', {str(study.root.parent)!r}])\n"
        "sys.exit(','.join({'torch', 'ray', 'librosa'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _study_data(paths: StudyPaths, *, drop: int = 0) -> Any:
    """The study's data without its last `drop` trials."""
    ledger = LedgerReader(Runs(paths.root.parent).ledger_url)
    try:
        rows = ledger.rows("banked", "search")
        for number in range(N_TRIALS - drop, N_TRIALS):
            del rows[str(number)]
        real = ledger.rows
        ledger.rows = lambda study, stage: rows if stage == "search" else real(study, stage)  # type: ignore[method-assign]
        report = json.loads(paths.report_json.read_text())
        return collect_study_data(ledger, ledger.study("banked"), {}, paths, report=report)
    finally:
        ledger.close()


@pytest.fixture
def chromium(tmp_path: Path) -> list[str]:
    """The command of a headless browser; skips if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    flags = (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "enable-logging=stderr", "virtual-time-budget=3000",
    )  # fmt: skip
    profile = tmp_path / "profile"
    return [found, *(f"--{flag}" for flag in flags), f"--user-data-dir={profile}", "--dump-dom"]


def test_a_browser_opens_the_page_without_an_error(
    study: StudyPaths, chromium: list[str], tmp_path: Path
) -> None:
    hard = [one["track"] for one in json.loads(study.report_json.read_text())["hardest"]]
    sound = study.root.parent / "sound.wav"
    soundfile.write(sound, [0.0] * 80, 8000)
    study.audio_json.write_text(json.dumps({hard[0]: str(sound)}))
    assert run(study) == 0
    done = _browse([*chromium, study.report_html.as_uri()])
    assert "CONSOLE" not in done.stderr, "an error, or something that the page's policy refused"
    assert re.search(r"<th[^>]*><button type=\"button\">", done.stdout), "its script ran"
    assert 'data-charts="drawn"' in done.stdout
    html = study.report_html.read_text()
    hidden = sum(html.count(f'id="parallel-own-{i}-chart"') for i in range(8))
    assert without_scripts(done.stdout).count("<svg") == read(html).n_charts - hidden, (
        "others are drawn if opened"
    )

    # a click on a copy of the page, as the page itself allows no other script
    html = re.sub(r"<meta http-equiv=[^>]+>", "", html)
    head, end, tail = html.replace(chart_script().text, "").rpartition("</body>")
    click = "<script>document.querySelector('table.sortable thead button').click()</script>"
    clicked = tmp_path / "clicked.html"
    clicked.write_text(f"{head}{click}{end}{tail}")
    done = _browse([*chromium, clicked.as_uri()])
    assert "CONSOLE" not in done.stderr
    assert 'aria-sort="ascending"' in done.stdout


def _browse(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)


def test_the_page_warns_if_a_baseline_is_as_accurate(study: StudyPaths) -> None:
    report = json.loads(study.report_json.read_text())
    ours = report["ensemble"]
    ours["test"]["accuracy"] = 0.5
    scores = {"out_of_fold": ours["out_of_fold"], "test": {**ours["test"], "accuracy": 0.75}}
    data = dataclasses.replace(_study_data(study), report={**report, "baselines": {"svm": scores}})
    warning = "The baseline svm is at least as accurate"
    assert warning in read(render_page(data, summary="x")).text
    data = dataclasses.replace(data, report={**report, "baselines": {}})
    assert "is at least as accurate" not in read(render_page(data, summary="x")).text


def test_the_page_gives_the_proven_coverage_of_conformal_sets() -> None:
    one = {
        "wanted": 0.9,
        "coverage": 0.91,
        "ci95": [0.85, 0.96],
        "least_proba": 0.1,
        "by_group": True,
        "mean_size": 1.5,
        "single": 0.6,
    }
    older = sentences.conformal_text({"conformal": one})  # a report without the key
    assert "prove" not in older
    text = sentences.conformal_text({"conformal": {**one, "guaranteed": 0.8}})
    assert "the proven coverage is 80 %" in text
    assert "an average over studies" in text
