"""A sweep whose app or worker is killed in its midst: every cell is made, and none that was done is made again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.jobs import NO_FLOOR, a_house
from tests.support.sweeping import CELLS, fast_backend, start
from wan_core.backends import local
from wan_core.backends.local import LocalBackend
from wan_core.events import Finished
from wan_core.files import FileStore
from wan_core.jobs.sweeps import Sweep, SweepService

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SOME = 8  # cells that are made before the kill


@pytest.fixture(autouse=True)
def own_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(local, "WORKER", list(local.WORKER))
    yield


@pytest.fixture
def hold(data: FileStore) -> Path:
    """The worker waits after SOME cells until this file is gone."""
    path = data.clip("any").with_name("hold")
    path.write_text(str(SOME))
    return path


def made(data: FileStore) -> list[Path]:
    return list(data.clip("any").parent.glob("*.mp4"))


async def until_over(sweeps: SweepService, sweep: Sweep) -> None:
    async for _ in sweeps.watch(sweep.id):
        pass


def is_whole(sweeps: SweepService, sweep: Sweep) -> bool:
    records = [sweeps.record(cell) for cell in sweep.cells]
    return len(records) == CELLS and all(each is not None and isinstance(each.outcome, Finished) for each in records)


def test_kill_9_of_the_app_in_the_midst_of_a_sweep_loses_no_cell(data: FileStore, hold: Path) -> None:
    command = [sys.executable, "-m", "tests.support.sweeping", str(data.root)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdout is not None
        sweep_id = app.stdout.readline().strip()
        while len(made(data)) < SOME:
            assert app.poll() is None
            time.sleep(0.01)
        app.kill()
        app.wait()
    assert len(made(data)) == SOME
    hold.unlink()
    with a_house(data, fast_backend(data), NO_FLOOR) as house:
        sweeps = SweepService(house.jobs, data)
        sweep = sweeps.require(sweep_id)
        asyncio.run(until_over(sweeps, sweep))
        assert is_whole(sweeps, sweep)
    again = [clip for clip in made(data) if clip.read_text() != "made\n"]
    assert len(again) <= 1, "only the cell in the making is made again"


def test_kill_9_of_the_worker_in_the_midst_of_a_sweep_loses_no_cell(data: FileStore, hold: Path) -> None:
    backend = fast_backend(data)
    with a_house(data, backend, replace(NO_FLOOR, attempts=2)) as house:
        sweeps, sweep = start(house)
        while len(made(data)) < SOME:
            time.sleep(0.01)
        kill_worker(backend)
        hold.unlink()
        asyncio.run(until_over(sweeps, sweep))
        assert is_whole(sweeps, sweep)
        attempts = [record.attempts for cell in sweep.cells if (record := sweeps.record(cell))]
        assert sum(attempts) <= CELLS + 1, "only the cell in the making was begun twice"


def kill_worker(backend: LocalBackend) -> None:
    worker = backend._worker
    assert worker is not None
    with suppress(ProcessLookupError):
        os.kill(worker._process.pid, signal.SIGKILL)
