"""The deployment files, checked offline, by Ray's own validation if it has some."""

import copy
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import cluster
from chorale.cluster.versions import requirements

DEPLOY = Path(cluster.__file__ or "").parent / "deploy"
RAY_UP = ("aws", "gcp", "local")

# The fields that are used here, and their types or allowed values.
# Source: KubeRay's API reference, v1.7, 2026,
# https://docs.ray.io/en/master/kuberay/references/api.html
POD = {"spec": dict}
AUTH = {"mode": ("token", "disabled"), "secretName": str}
GROUP = {
    "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int,
    "rayStartParams": dict, "template": POD,
}  # fmt: skip
CLUSTER_SPEC: dict[str, Any] = {
    "rayVersion": str,
    "authOptions": AUTH,
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {"idleTimeoutSeconds": int},
    "headGroupSpec": {
        "serviceType": ("ClusterIP", "NodePort", "LoadBalancer"),
        "rayStartParams": dict,
        "template": POD,
    },
    "workerGroupSpecs": [GROUP],
}
JOB_SPEC: dict[str, Any] = {
    "entrypoint": str,
    "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "backoffLimit": int,
    "rayClusterSpec": CLUSTER_SPEC,
}


def _read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / name).read_text()))


def _problems(value: Any, wanted: Any, where: str) -> list[str]:
    """Unknown fields and wrong types or values."""
    if isinstance(wanted, dict):
        if not isinstance(value, Mapping):
            return [f"{where}: not a mapping"]
        unknown = [f"{where}.{key}: unknown" for key in value.keys() - wanted.keys()]
        known = [_problems(value[k], wanted[k], f"{where}.{k}") for k in value.keys() & wanted]
        return unknown + [one for many in known for one in many]
    if isinstance(wanted, list):
        return [p for i, one in enumerate(value) for p in _problems(one, wanted[0], f"{where}.{i}")]
    good = value in wanted if isinstance(wanted, tuple) else type(value) is wanted
    return [] if good else [f"{where}: {value!r}"]


def _cluster_spec(name: str) -> dict[str, Any]:
    spec = _read(name)["spec"]
    return dict(spec.get("rayClusterSpec", spec))


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_accepts_the_file(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(_read(f"{name}.yaml")))
    validate_config(prepared)
    assert prepared["file_mounts"] == {"/root/.ray/auth_token": "~/.ray/auth_token"}


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_starts_every_node_with_a_token_and_exposes_no_dashboard(name: str) -> None:
    config = _read(f"{name}.yaml")
    heads, workers = config["head_start_ray_commands"], config["worker_start_ray_commands"]
    starts = [one for one in [*heads, *workers] if "ray start" in one]
    assert len(starts) == 2
    assert all(one.startswith("RAY_AUTH_MODE=token ray start ") for one in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]


@pytest.mark.parametrize(
    ("name", "kind", "fields"),
    [
        ("kuberay-cluster.yaml", "RayCluster", CLUSTER_SPEC),
        ("kuberay-job.yaml", "RayJob", JOB_SPEC),
    ],
)
def test_kuberay_knows_every_field(name: str, kind: str, fields: dict[str, Any]) -> None:
    manifest = _read(name)
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
    assert _problems(manifest["spec"], fields, "spec") == []


@pytest.mark.parametrize("name", ["kuberay-cluster.yaml", "kuberay-job.yaml"])
def test_kuberay_scales_gpu_workers_and_requires_a_token(name: str) -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import (
        _derive_autoscaling_config_from_ray_cr,
    )
    from ray.autoscaler._private.util import validate_config

    spec = _cluster_spec(name)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    metadata = {"name": "chorale", "namespace": "default"}
    scaling = _derive_autoscaling_config_from_ray_cr({"metadata": metadata, "spec": spec})
    validate_config(scaling)
    gpu = scaling["available_node_types"]["gpu"]
    assert gpu["resources"]["GPU"] == 1
    assert (gpu["min_workers"], gpu["max_workers"]) == (1, 8)
    assert scaling["available_node_types"]["headgroup"]["resources"]["CPU"] == 0


@pytest.mark.parametrize("name", ["kuberay-cluster.yaml", "kuberay-job.yaml"])
def test_pods_mount_only_declared_volumes_and_do_not_run_as_root(name: str) -> None:
    spec = _cluster_spec(name)
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["resources"]["requests"] == container["resources"]["limits"]


def test_manifests_have_the_ray_version_that_chorale_requires() -> None:
    [ray] = [one for one in requirements() if one.startswith("ray[")]
    for name in ("kuberay-cluster.yaml", "kuberay-job.yaml"):
        assert _cluster_spec(name)["rayVersion"] == ray.partition("==")[2].replace("*", "0")


def test_the_slurm_script_is_valid_shell() -> None:
    script = DEPLOY / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)


def test_the_slurm_scripts_token_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    text = (DEPLOY / "slurm.sh").read_text()
    making = re.search(r"^token=.*?^chmod .*?$", text, flags=re.DOTALL | re.MULTILINE)
    assert making is not None
    shell = f'umask 000; set -eu; {making[0]}\nstat -c %a "$token"; wc -c < "$token"'
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["600", "64"]
    assert 'rm -f "$token"' in text
    assert text.index("RAY_AUTH_MODE=token") < text.index("ray start")


def test_the_image_installs_from_the_lock_file_and_does_not_run_as_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    assert copied == {
        "pyproject.toml", "README.md", "LICENSE", "constraints.txt", "constraints-cpu.txt",
        "datasets", "lightning_models", "cluster", "search",
    }  # fmt: skip
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in rules if line.startswith("!")} == copied
    assert "USER ray" in lines
    assert not [line for line in lines if line.startswith("EXPOSE")]


def test_the_readme_mentions_every_file() -> None:
    readme = (DEPLOY / "README.md").read_text()
    files = [p.name for p in DEPLOY.iterdir() if p.name != "README.md" and "ignore" not in p.name]
    assert [name for name in files if f"cluster/deploy/{name}" not in readme] == []
