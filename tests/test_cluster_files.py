"""The files that start a cluster parse, fit together, and fit the packages."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from wan_core.settings import Settings

FOLDER = Path(__file__).parents[1] / "docs" / "cluster"
RAY = Requirement((FOLDER.parents[1] / "requirements-ray.txt").read_text().splitlines()[-1])


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "compose.yaml").read_text()))


def kuberay() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / "kuberay.yaml").read_text()))


def containers(group: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in group["template"]["spec"]["containers"]}


def test_compose_starts_a_head_an_app_and_workers_with_a_card_that_find_it() -> None:
    app, worker = compose()["services"]["app"], compose()["services"]["worker"]
    assert "ray start --head --port=6379" in app["command"][-1] and app["command"][-1].endswith("exec python app.py")
    assert app["environment"]["WAN_RAY_ADDRESS"] == "app:6379" and "--address=app:6379" in worker["command"][-1]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device["count"] == 1 and device["capabilities"] == ["gpu"] and "--num-gpus=1" in worker["command"][-1]
    named = {volume.split(":")[0] for each in (app, worker) for volume in each["volumes"] if ":" in volume}
    assert named == set(compose()["volumes"])
    assert (FOLDER / app["build"]["context"]).resolve() == FOLDER.parents[1].resolve()
    assert (FOLDER.parents[1] / app["build"]["dockerfile"]).is_file()


def test_kuberay_runs_the_app_beside_the_head_and_gives_each_worker_one_card() -> None:
    cluster, *others = kuberay()
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    head = containers(cluster["spec"]["headGroupSpec"])
    assert head["app"]["command"] == ["python", "app.py"] and "ray-head" in head
    (cards,) = cluster["spec"]["workerGroupSpecs"]
    assert containers(cards)["ray-worker"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    claims = {each["metadata"]["name"] for each in others if each["kind"] == "PersistentVolumeClaim"}
    volumes = [*cluster["spec"]["headGroupSpec"]["template"]["spec"]["volumes"], *cards["template"]["spec"]["volumes"]]
    assert {each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each} == claims
    names = {each["name"] for each in volumes}
    for container in [*head.values(), *containers(cards).values()]:
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= names


def test_the_versions_are_those_of_the_packages() -> None:
    assert RAY.name == "ray" and RAY.specifier.contains(kuberay()[0]["spec"]["rayVersion"])
    assert "requirements-ray.txt" in (FOLDER / "Dockerfile").read_text()


@pytest.mark.parametrize("document", ["docs/scale.md", "docs/cluster/compose.yaml", "docs/cluster/kuberay.yaml"])
def test_every_variable_is_a_setting(document: str) -> None:
    known = {f"WAN_{name.upper()}" for name in Settings.model_fields}
    text = (FOLDER.parents[1] / document).read_text("utf-8")
    assert set(re.findall(r"\bWAN_[A-Z_]+", text)) <= known


def test_every_linked_file_exists() -> None:
    scale = FOLDER.parent / "scale.md"
    for target in re.findall(r"\]\((?!https?://|#)([^)]+)\)", scale.read_text("utf-8")):
        assert (scale.parent / target.split("#")[0]).exists(), target
