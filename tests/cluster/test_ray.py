"""Clips are made on the machines of a real Ray cluster, whatever happens to the machines."""

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from tests.support.app import ROOT, free_port
from tests.support.jobs import NO_FLOOR, SHORT, House, a_house
from tests.support.ray_cluster import RAY, RayCluster, a_ray_cluster
from wan_core import encoding
from wan_core.backends.cluster import UNREACHABLE, Cluster, ClusterBackend
from wan_core.events import Failed, Finished, Queued, Step, Stopped
from wan_core.files import FileStore
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

PATIENCE_S = 240.0
FAST = ["-S", str(ROOT / "tests/support/sleeping_worker.py"), "0.02"]
SLOW = ["-S", str(ROOT / "tests/support/sleeping_worker.py"), "0.25"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A head and two machines; tests may kill machines and must let others join in their place."""
    with a_ray_cluster("127.0.0.2", "127.0.0.3") as cluster:
        yield cluster


@contextmanager
def app_on(cluster: RayCluster, data: FileStore, program: list[str], workers: int = 2) -> Iterator[House]:
    """A service whose jobs run on the cluster, once it has `workers`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAN_RAY_ADDRESS", cluster.address)
        patch.setenv("WAN_DATA_DIR", str(data.root))
        link = Cluster(program)
        link.start()
        with a_house(data, ClusterBackend(link, NO_FLOOR, lambda job: 300), concurrency=0, varies=True) as house:
            link.call_on_change(lambda now: house.runner.set_workers("local", now.workers, now.trouble))
            wait_until(lambda: house.runner.workers("local") == workers)
            yield house


def wait_until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def has_begun(record: JobRecord) -> bool:
    return any(isinstance(event, Step) for event in record.events)


def node_of(cluster: RayCluster, job_id: str) -> str:
    """The key of the machine that has the job's preview now."""
    (key,) = [key for key, node in cluster.nodes.items() if list(node.data.rglob(f"{job_id}.webp"))]
    return key


def lose(cluster: RayCluster, key: str) -> None:
    cluster.nodes[key].kill()


def replace_lost(cluster: RayCluster, key: str, house: House) -> None:
    """Let another machine join in the place of a killed one."""
    node = cluster.nodes.pop(key)
    node.stop()
    cluster.join(node.address)
    wait_until(lambda: house.runner.workers("local") == 2)


def test_two_clips_at_once_arrive_with_their_files_and_nothing_stays_on_the_machines(
    cluster: RayCluster, data: FileStore
) -> None:
    with app_on(cluster, data, SLOW) as house:
        records = [house.submit(**SHORT | {"num_inference_steps": 20, "seed": seed}) for seed in (1, 2)]
        wait_until(lambda: all(has_begun(record) for record in records))
        assert node_of(cluster, records[0].job.id) != node_of(cluster, records[1].job.id), "one on each machine"
        wait_until(lambda: all(data.preview(record.job.id).is_file() for record in records))
        for record in records:
            assert data.preview(record.job.id).read_text() == f"preview of {record.job.id}"
        for record in records:
            assert isinstance(house.outcome(record), Finished) and record.attempts == 1
            job = record.job
            digest = hashlib.sha256(data.picture(job.picture).read_bytes()).hexdigest()
            assert data.clip(job.id).read_bytes().endswith(digest.encode()), "the picture came out whole"
            frames = np.load(data.frames(job.id))
            assert frames.shape == (17, 128, 208, 3) and (frames == job.inputs.seed).all()
        wait_until(lambda: not any(list(node.data.rglob("*.npy")) for node in cluster.nodes.values()))
        assert not any(list(node.data.rglob("*.[pmw][npe][g4b]*")) for node in cluster.nodes.values())


def test_a_cancel_reaches_the_machine_and_the_machine_takes_the_next_job(cluster: RayCluster, data: FileStore) -> None:
    with app_on(cluster, data, SLOW) as house:
        record, other = (house.submit(**SHORT | {"num_inference_steps": 40}) for _ in range(2))
        wait_until(lambda: has_begun(record))
        house.jobs.cancel(record)
        assert isinstance(house.outcome(record), Stopped)
        assert sum(isinstance(event, Step) for event in record.events) < 40
        next_one = house.submit(**SHORT)
        assert isinstance(house.outcome(next_one), Finished)
        house.jobs.cancel(other)
        assert isinstance(house.outcome(other), Stopped)


def test_questions_are_answered_by_the_cluster_beside_jobs(cluster: RayCluster, data: FileStore) -> None:
    with app_on(cluster, data, FAST) as house:
        record = house.submit(**SHORT)
        assert isinstance(house.outcome(record), Finished)
        house.backend.check(record.job.picture, "a walk")
        written, note = house.backend.expand(record.job.picture, "a walk")
        assert written == hashlib.sha256(data.picture(record.job.picture).read_bytes()).hexdigest() and not note


def test_frames_survive_a_clip_that_fails_after_them(cluster: RayCluster, data: FileStore) -> None:
    with app_on(cluster, data, FAST) as house:
        record = house.submit(**SHORT | {"prompt": "boom", "seed": 3})
        outcome = house.outcome(record)
        assert isinstance(outcome, Failed) and outcome.type == "storage_full"
        assert (np.load(data.frames(record.job.id)) == 3).all()


def test_a_machine_that_dies_in_the_middle_of_a_clip_costs_one_attempt_and_what_it_made_can_be_finished_elsewhere(
    cluster: RayCluster, data: FileStore
) -> None:
    with app_on(cluster, data, SLOW) as house:
        earlier = house.submit(**SHORT | {"seed": 5})
        assert isinstance(house.outcome(earlier), Finished)
        record, beside = (house.submit(**SHORT | {"num_inference_steps": 40, "seed": seed}) for seed in (6, 7))
        wait_until(lambda: has_begun(record) and has_begun(beside))
        lost = node_of(cluster, record.job.id)
        lose(cluster, lost)
        assert isinstance(house.outcome(record), Finished) and isinstance(house.outcome(beside), Finished)
        assert (record.attempts, beside.attempts) == (2, 1)
        assert sum(isinstance(event, Finished) for event in record.events) == 1, "one result"
        assert (np.load(data.frames(record.job.id)) == 6).all()
        again = house.jobs.finish_again(earlier, {"frames_per_second": 24}, Client.by_key("a"))
        assert isinstance(house.outcome(again), Finished)
        digest = hashlib.sha256(data.frames(earlier.job.id).read_bytes()).hexdigest()
        assert data.clip(again.job.id).read_bytes().endswith(digest.encode()), "the frames went out whole"
        wait_until(lambda: house.runner.workers("local") == 1)
        replace_lost(cluster, lost, house)


def test_a_machine_that_hangs_is_given_up_and_its_clip_is_made_elsewhere(
    cluster: RayCluster, data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_core.backends.cluster.BRIDGE", ["-m", "tests.support.impatient_link"])
    with app_on(cluster, data, SLOW) as house:
        record = house.submit(**SHORT | {"num_inference_steps": 40, "seed": 12})
        wait_until(lambda: has_begun(record))
        hung = node_of(cluster, record.job.id)
        cluster.nodes[hung].freeze()
        assert isinstance(house.outcome(record), Finished) and record.attempts == 2
        assert any("fell silent" in line.message for line in record.logs)
        assert sum(isinstance(event, Finished) for event in record.events) == 1
        replace_lost(cluster, hung, house)


def test_a_machine_that_joins_is_used_at_once(cluster: RayCluster, data: FileStore) -> None:
    with app_on(cluster, data, SLOW) as house:
        records = [house.submit(**SHORT | {"num_inference_steps": 40}) for _ in range(3)]
        wait_until(lambda: sum(has_begun(record) for record in records) == 2)
        joined = cluster.join("127.0.0.5")
        try:
            more = [house.submit(**SHORT | {"num_inference_steps": 40}) for _ in range(3)]
            wait_until(lambda: any(list(joined.data.rglob(f"{record.job.id}.webp")) for record in records + more))
            assert house.runner.workers("local") == 3
            assert all(isinstance(house.outcome(record), Finished) for record in records + more)
        finally:
            key = next(key for key, node in cluster.nodes.items() if node is joined)
            cluster.nodes.pop(key).stop()
        wait_until(lambda: house.runner.workers("local") == 2)


def test_a_folder_that_is_shared_is_used_as_it_is(cluster: RayCluster, data: FileStore) -> None:
    (_, first, _) = cluster.nodes.values()
    shared = FileStore(first.data)
    with app_on(cluster, shared, FAST) as house:
        records = [house.submit(**SHORT | {"seed": seed}) for seed in (8, 9, 10, 11)]
        assert all(isinstance(house.outcome(record), Finished) for record in records)
        for record in records:
            assert (np.load(shared.frames(record.job.id)) == record.job.inputs.seed).all()
            assert shared.picture(record.job.picture).is_file()


def test_jobs_wait_while_no_cluster_answers_and_are_told_so(data: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_RAY_ADDRESS", f"127.0.0.4:{free_port()}")
    link = Cluster()
    link.start()
    with a_house(data, ClusterBackend(link, NO_FLOOR, lambda job: 300), concurrency=0, varies=True) as house:
        link.call_on_change(lambda now: house.runner.set_workers("local", now.workers, now.trouble))
        record = house.submit(**SHORT)
        wait_until(lambda: Queued(0, UNREACHABLE) in record.events)
        assert record.status == "queued" and record.attempts == 0
        house.jobs.cancel(record)
        assert isinstance(house.outcome(record), Stopped)


def test_an_app_that_is_killed_in_mid_clip_makes_it_after_the_next_start_with_one_result(
    cluster: RayCluster, data: FileStore
) -> None:
    variables = {"WAN_RAY_ADDRESS": cluster.address, "WAN_DATA_DIR": str(data.root)}
    command = [sys.executable, "-m", "tests.support.cluster_app"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        job_id = app.stdout.readline().strip()
        app.kill()
    assert job_id and not data.clip(job_id).exists()
    with app_on(cluster, data, FAST) as house:
        record = house.jobs.get(job_id)
        assert record is not None and isinstance(house.outcome(record), Finished)
        assert record.attempts == 2
        assert (np.load(data.frames(job_id)) == 21).all()
        assert [path.name for path in data.clip("any").parent.iterdir()] == [f"{job_id}.mp4"]


def test_the_real_model_makes_a_clip_on_a_machine_and_another_finishes_it_again(
    cluster: RayCluster, data: FileStore
) -> None:
    with app_on(cluster, data, []) as house:
        record = house.submit(**SHORT)
        assert isinstance(house.outcome(record), Finished)
        assert encoding.probe(data.clip(record.job.id)).frames == 17
        assert np.load(data.frames(record.job.id), mmap_mode="r").shape[0] == 17
        again = house.jobs.finish_again(record, {"frames_per_second": 24}, Client.by_key("a"))
        assert isinstance(house.outcome(again), Finished)
        assert encoding.probe(data.clip(again.job.id)).fps == 24


@pytest.mark.parametrize("document", ["README.md", "docs/scale.md", "docs/cluster/compose.yaml"])
def test_every_option_that_is_written_down_is_one_of_ray_start(document: str) -> None:
    known = subprocess.run([*RAY, "--help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"ray start[^\n#]*", (ROOT / document).read_text("utf-8"))
    used = {option for command in commands for option in re.findall(r"--[a-z-]+", command)}
    assert used and all(re.search(rf"{option}\b", known) for option in used)
