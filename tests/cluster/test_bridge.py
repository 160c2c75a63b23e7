"""The link to the cluster, with a machine that is played: what it does when this side fails."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray

from tests.support.jobs import a_job
from wan_core.backends.messages import Happened, Raised, answer_line, read_answer
from wan_core.backends.node import Item, NodeReport, code_digest
from wan_core.backends.parcels import Parcel
from wan_core.backends.ray import Bridge, Seat
from wan_core.errors import Cancelled, to_plain
from wan_core.events import Job, Stage, Step
from wan_core.files import FileStore
from wan_core.settings import Settings

pytestmark = pytest.mark.cluster


class Machine:
    """Makes steps after a preview until it is told to stop, `busy`: whether it was taken, at each."""

    def __init__(self, job: Job) -> None:
        self.job, self.is_told_to_stop, self.has_ended, self.busy = job, False, False, [True]
        self.run = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: self._items()))
        self.cancel = SimpleNamespace(remote=self._stop)
        self.seat = Seat("a node", self, None, NodeReport(code_digest(), "", 0, shares_folder=False))

    def _stop(self, job_id: str) -> None:
        assert job_id == self.job.id
        self.is_told_to_stop = True

    def _items(self) -> Iterator[Item]:
        yield answer_line(Happened(self.job.id, Stage("sampling")))
        yield Parcel("preview", self.job.id, np.zeros(100, np.uint8))
        for step in range(30):
            yield answer_line(Happened(self.job.id, Step("sampling", step + 1, 30)))
            self.busy.append(self.seat.busy)
            if self.is_told_to_stop:
                break
        yield answer_line(Raised(self.job.id, to_plain(Cancelled())))
        self.has_ended = True


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(ray, "wait", lambda items, timeout: (items, []))
    monkeypatch.setattr(ray, "get", lambda item, timeout: item)
    return Machine(a_job())


def test_a_file_that_finds_no_room_here_stops_the_job_there_before_the_machine_takes_another(
    machine: Machine, data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = io.StringIO()
    bridge = Bridge(Settings(data_dir=data.root), [], io.StringIO(), answers)
    bridge._fleet._seats = [machine.seat]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with bridge.report_errors(machine.job.id):
        bridge._run(machine.job)
    assert machine.has_ended and all(machine.busy) and len(machine.busy) == 2
    assert not machine.seat.busy
    last = read_answer(answers.getvalue().splitlines()[-1])
    assert isinstance(last, Raised) and last.error["type"] == "storage_full"
