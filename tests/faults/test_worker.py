"""The worker process is killed in the middle of a job: one attempt is lost, nothing else."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.jobs import NO_FLOOR, SHORT, a_house
from wan_core import encoding
from wan_core.backends.local import LocalBackend
from wan_core.backends.several import SeveralBackends
from wan_core.events import Finished, Step
from wan_core.files import FileStore
from wan_core.profiles import Machine

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]


def test_kill_9_of_the_worker_in_the_middle_of_a_job_costs_one_attempt(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN_DATA_DIR", str(data.root))
    with a_house(data, LocalBackend(NO_FLOOR, lambda job: 300)) as house:
        record = house.submit(**SHORT | {"num_inference_steps": 8})
        killed = threading.Event()

        def kill_at_the_third_step() -> None:
            while not any(isinstance(event, Step) and event.done == 3 for event in record.events):
                killed.wait(0.01)
            os.kill(worker_pid(), signal.SIGKILL)
            killed.set()

        threading.Thread(target=kill_at_the_third_step).start()
        outcome = house.outcome(record)
        assert killed.is_set() and record.attempts == 2
        assert isinstance(outcome, Finished) and encoding.probe(house.jobs.files.clip(record.job.id)).frames == 17


def test_kill_9_of_one_of_two_workers_costs_its_job_one_attempt_and_the_other_job_nothing(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN_DATA_DIR", str(data.root))
    environments = Machine(workers=2).worker_environments()
    pool = SeveralBackends([LocalBackend(NO_FLOOR, lambda job: 300, each) for each in environments])
    with a_house(data, pool, concurrency=2) as house:
        records = [house.submit(**SHORT | {"num_inference_steps": 20}) for _ in range(2)]
        while not all(any(isinstance(event, Step) for event in record.events) for record in records):
            time.sleep(0.01)
        os.kill(worker_pids()[0], signal.SIGKILL)
        assert all(isinstance(house.outcome(record), Finished) for record in records)
        assert sorted(record.attempts for record in records) == [1, 2]
        assert all(encoding.probe(house.jobs.files.clip(record.job.id)).frames == 17 for record in records)


def worker_pid() -> int:
    """The pid of the one worker this process has started."""
    (pid,) = worker_pids()
    return pid


def worker_pids() -> list[int]:
    children = {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}
    return [int(pid) for pid in children if b"wan_core.backends.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
