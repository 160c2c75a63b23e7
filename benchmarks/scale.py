"""What more workers bring: clips a second ÷ (workers × one worker's), and what Ray costs a clip.

`python -m benchmarks.scale`. Workers sleep in the place of making frames, so that many fit on a few cores; one worker,
here and over Ray, runs before each other number of workers, so that what else the machine does hits both. Takes about
ten minutes.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.app import ROOT
from tests.support.jobs import NO_FLOOR, OPTIONS, SHORT, House, a_house, a_request
from tests.support.ray_cluster import RayCluster, a_ray_cluster
from wan_core.backends.cluster import Cluster, ClusterBackend
from wan_core.backends.local import LocalBackend
from wan_core.backends.several import SeveralBackends
from wan_core.events import Finished
from wan_core.files import FileStore
from wan_core.jobs.limits import Client
from wan_core.jobs.service import Submission

STEPS, STEP_S = 8, 0.5
PROGRAM = ["-S", str(ROOT / "tests/support/sleeping_worker.py"), str(STEP_S)]
JOBS_A_WORKER = 3
COUNTS = (2, 4, 8)
LIMIT_S = 600.0


def main() -> None:
    print(f"a clip sleeps {STEPS * STEP_S:g} s; {JOBS_A_WORKER} clips a worker")
    with tempfile.TemporaryDirectory() as folder, a_ray_cluster() as cluster:
        for node, workers in (("127.0.0.2", 4), ("127.0.0.3", 4)):
            cluster.join(node, workers)
        for count in COUNTS:
            with _here(Path(folder), 1) as one, _here(Path(folder), count) as many:
                _print("here", count, _efficiency(one, many, count))
        with _over_ray(cluster, Path(folder), 8) as house:
            for count in COUNTS:
                _print("Ray", count, _efficiency(house, house, count))
            with _here(Path(folder), 1) as here:
                _print_overhead(here, house)


def _efficiency(one: House, many: House, count: int) -> list[float]:
    """Of three pairs of runs, in turn."""
    for house, workers in ((one, 1), (many, count)):
        _clips(house, workers, workers)  # processes start
    found = []
    for _ in range(3):
        alone = _clips(one, 1, JOBS_A_WORKER)
        found.append(alone / _clips(many, count, JOBS_A_WORKER * count))
    return found


def _clips(house: House, workers: int, jobs: int) -> float:
    """Seconds from the first submission to the last end, `workers` at a time."""
    house.runner.set_workers("local", workers)
    begun = time.perf_counter()

    async def all_of_them() -> None:
        records = [await house.jobs.submit(_submission(), Client.by_key("a")) for _ in range(jobs)]
        for record in records:
            async for _ in record.watch():
                pass
            assert isinstance(record.outcome, Finished), record.outcome

    asyncio.run(asyncio.wait_for(all_of_them(), LIMIT_S))
    return time.perf_counter() - begun


def _print_overhead(here: House, ray: House) -> None:
    """A clip over Ray − the same clip here, in turn."""
    differences = []
    for _ in range(7):
        local = _clips(here, 1, 1)
        differences.append(1000 * (_clips(ray, 1, 1) - local))
    kept = sum(path.stat().st_size for path in _newest(here.jobs.files))
    print(f"Ray − here: median {statistics.median(differences):.0f} ms a clip; {kept:,} bytes travel")


def _newest(files: FileStore) -> list[Path]:
    """The picture, frames and clip of one job."""
    folders = (files.picture("any").parent, files.frames("any").parent, files.clip("any").parent)
    return [next(path for path in folder.iterdir() if path.is_file()) for folder in folders]


def _print(where: str, count: int, efficiencies: list[float]) -> None:
    shown = ", ".join(f"{each:.3f}" for each in efficiencies)
    print(f"{where}: {count} workers, efficiency {statistics.median(efficiencies):.3f} ({shown})", flush=True)


def _submission() -> Submission:
    return Submission(a_request(**SHORT | {"num_inference_steps": STEPS}), OPTIONS)


@contextmanager
def _here(folder: Path, workers: int) -> Iterator[House]:
    data = FileStore(Path(tempfile.mkdtemp(dir=folder)))
    environment = {"WAN_DATA_DIR": str(data.root)}
    backends = [LocalBackend(NO_FLOOR, lambda job: LIMIT_S, environment, PROGRAM) for _ in range(workers)]
    with a_house(data, SeveralBackends(backends), concurrency=workers) as house:
        yield house


@contextmanager
def _over_ray(cluster: RayCluster, folder: Path, workers: int) -> Iterator[House]:
    data = FileStore(Path(tempfile.mkdtemp(dir=folder)))
    os.environ |= {"WAN_RAY_ADDRESS": cluster.address, "WAN_DATA_DIR": str(data.root)}
    link = Cluster(PROGRAM)
    link.start()
    end = time.monotonic() + LIMIT_S
    while link.capacity.workers < workers:
        if time.monotonic() > end:
            sys.exit(f"only {link.capacity.workers} of {workers} workers came")
        time.sleep(0.5)
    with a_house(data, ClusterBackend(link, NO_FLOOR, lambda job: LIMIT_S), concurrency=0, varies=True) as house:
        yield house


if __name__ == "__main__":
    main()
