"""The worker process is killed in the middle of a job: one attempt is lost, nothing else."""

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.support.jobs import NO_FLOOR, SHORT, a_house
from wan_core import encoding
from wan_core.backends.local import LocalBackend
from wan_core.events import Finished, Step
from wan_core.files import FileStore

pytestmark = pytest.mark.fault


def test_kill_9_of_the_worker_in_the_middle_of_a_job_costs_one_attempt(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN_DATA_DIR", str(data.root))
    with a_house(data, LocalBackend(NO_FLOOR, lambda job: 300)) as house:
        record = house.submit(**SHORT | {"num_inference_steps": 20})
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


def worker_pid() -> int:
    """The pid of the one worker this process has started."""
    children = {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}
    (pid,) = [pid for pid in children if b"wan_core.backends.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return int(pid)
