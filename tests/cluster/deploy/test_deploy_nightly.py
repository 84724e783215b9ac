"""Schedulers of nightly runs: a crontab line, systemd units and manifests, checked offline."""

import re
import shutil
import subprocess
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from chorale import cluster
from chorale.search.nightly.config import load_nightly

DEPLOY = Path(cluster.__file__ or "").parent / "deploy"
NIGHT = load_nightly("nightly_gtzan", {})

# The fields that are used here.
# Source: Kubernetes' API reference, CronJob in batch/v1, 1.36, 2026,
# https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/cron-job-v1/
CRON_JOB = {
    "schedule", "timeZone", "concurrencyPolicy", "startingDeadlineSeconds",
    "successfulJobsHistoryLimit", "failedJobsHistoryLimit", "jobTemplate", "suspend",
}  # fmt: skip
JOB = {"activeDeadlineSeconds", "backoffLimit", "template", "ttlSecondsAfterFinished"}
# Source: KubeRay's API reference, v1.7, 2026,
# https://docs.ray.io/en/master/kuberay/references/api.html
RAY_CRON_JOB = {"schedule", "timeZone", "suspend", "jobTemplate"}


def _read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / name).read_text()))


def _units(name: str) -> dict[str, list[tuple[str, str]]]:
    """Section -> keys and values."""
    found: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for line in (DEPLOY / name).read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(section, []).append((key, value))
    return found


def _cron_time() -> str:
    """The start of the shipped schedule as cron fields."""
    hour, minute = NIGHT.settings.schedule.at.split(":")
    return f"{int(minute)} {int(hour)} * * *"


def test_the_native_cron_job_forbids_concurrent_runs_and_has_deadlines() -> None:
    manifest = _read("kuberay-nightly.yaml")
    spec = manifest["spec"]
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    assert spec.keys() <= CRON_JOB
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] > 0
    job = spec["jobTemplate"]["spec"]
    assert job.keys() <= JOB
    begin = NIGHT.settings.schedule
    duration_s = (begin.end(date(2026, 1, 1)) - begin.begin(date(2026, 1, 1))) / timedelta(
        seconds=1
    )
    assert job["activeDeadlineSeconds"] > duration_s
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["template"]["spec"]["securityContext"]["runAsNonRoot"] is True


def test_the_native_cron_job_submits_to_the_cluster_with_its_token() -> None:
    [container] = _read("kuberay-nightly.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"][
        "containers"
    ]
    name = _read("kuberay-cluster.yaml")["metadata"]["name"]
    assert container["command"][:3] == ["ray", "job", "submit"]
    assert f"http://{name}-head-svc:8265" in container["command"]
    token = next(one for one in container["env"] if one["name"] == "RAY_AUTH_TOKEN")
    assert token["valueFrom"]["secretKeyRef"] == {"name": name, "key": "auth_token"}
    assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_ray_cron_job_has_the_fields_and_cluster_of_the_job_for_one_sweep() -> None:
    manifest = _read("kuberay-nightly-raycronjob.yaml")
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", "RayCronJob")
    assert manifest["spec"].keys() == RAY_CRON_JOB
    template, job = manifest["spec"]["jobTemplate"], _read("kuberay-job.yaml")["spec"]
    assert template.keys() == job.keys()
    assert template["rayClusterSpec"] == job["rayClusterSpec"]
    text = (DEPLOY / "kuberay-nightly-raycronjob.yaml").read_text()
    assert "alpha" in text
    assert "no concurrencyPolicy" in text


@pytest.mark.parametrize("name", ["kuberay-nightly.yaml", "kuberay-nightly-raycronjob.yaml"])
def test_manifests_run_the_shipped_file_at_its_time_in_a_valid_time_zone(name: str) -> None:
    spec = _read(name)["spec"]
    assert spec["schedule"] == _cron_time()
    assert ZoneInfo(spec["timeZone"])
    assert "chorale nightly nightly_gtzan" in (DEPLOY / name).read_text()


@pytest.mark.parametrize("code", [0, 10, 20, 75, 1])
@pytest.mark.parametrize(
    "name", ["kuberay-nightly.yaml", "kuberay-nightly-raycronjob.yaml", "nightly.crontab"]
)
def test_an_inconclusive_night_counts_as_success_and_other_codes_as_failure(
    name: str, code: int, tmp_path: Path
) -> None:
    fake = tmp_path / "chorale"
    fake.write_text(f"#!/bin/sh\nexit {code}\n")
    fake.chmod(0o755)
    text = (DEPLOY / name).read_text()
    if name == "nightly.crontab":
        line = next(line for line in text.splitlines() if line.startswith("0 1 "))
        script = line.split("  ", 1)[1].replace(".venv/bin/chorale", str(fake))
        script = script.replace('"$HOME/chorale"', str(tmp_path))
    else:
        found = re.search(r"chorale nightly [^\"'\n]*\|\| \[ \$\? -eq 10 \]", text)
        assert found is not None
        script = found[0].replace("chorale", str(fake), 1)
    done = subprocess.run(["bash", "-c", script], check=False)
    assert (done.returncode == 0) is (code in (0, 10))


def test_the_crontab_line_has_five_fields_a_zone_and_a_command() -> None:
    lines = [
        line
        for line in (DEPLOY / "nightly.crontab").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert lines[0].startswith("CRON_TZ=")
    assert lines[1].startswith(_cron_time() + "  ")
    assert "%" not in lines[1]  # cron turns it into a newline
    assert "chorale nightly nightly_gtzan" in lines[1]


def test_the_service_counts_inconclusive_as_success_and_the_timer_catches_up() -> None:
    service = dict(_units("chorale-nightly.service")["Service"])
    assert service["SuccessExitStatus"] == "10 75"
    assert service["Type"] == "oneshot"
    assert service["ExecStart"].endswith("chorale nightly nightly_gtzan")
    timer = dict(_units("chorale-nightly.timer")["Timer"])
    assert timer["Persistent"] == "true"
    assert f" {NIGHT.settings.schedule.at}:00 " in timer["OnCalendar"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for name in ("chorale-nightly.service", "chorale-nightly.timer"):
        text = (DEPLOY / name).read_text()
        # systemd checks that the program and the user exist
        text = text.replace("/srv/chorale/.venv/bin/chorale", "/bin/true")
        (tmp_path / name).write_text(text.replace("User=chorale\n", ""))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "chorale-nightly.timer")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    problems = [line for line in done.stderr.splitlines() if "chorale" in line]
    assert problems == []
    clock = dict(_units("chorale-nightly.timer")["Timer"])["OnCalendar"]
    subprocess.run(["systemd-analyze", "calendar", clock], check=True, capture_output=True)
