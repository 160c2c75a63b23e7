"""A sweep of 36 cells on a worker without any model: `python -m tests.support.sweeping FOLDER`.

Prints the sweep's id once it is accepted, and is there until it is killed.
"""

import asyncio
import sys
import time
from pathlib import Path

from tests.support.fast_worker import fast_worker
from tests.support.jobs import MINIMAL, NO_FLOOR, OPTIONS, House, a_house
from wan_core.backends import local
from wan_core.backends.local import LocalBackend
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.explore.cells import plan
from wan_core.explore.definition import AxisText, Definition
from wan_core.files import FileStore
from wan_core.jobs.limits import Client
from wan_core.jobs.sweeps import Sweep, SweepService

CELLS = 36
THIRTY_SIX = Definition((AxisText("shift", "2-7 [6]"), AxisText("guidance_scale", "2-7 [6]")), scout=False)


def fast_backend(data: FileStore) -> LocalBackend:
    local.WORKER[:] = fast_worker(data)
    return LocalBackend(NO_FLOOR, lambda job: 60)


def start(house: House, seed: int = 7, client: str = "a") -> tuple[SweepService, Sweep]:
    sweeps = SweepService(house.jobs, house.jobs.files)
    base = {**IMAGE_TO_VIDEO.defaults, **MINIMAL, "seed": seed}
    made = plan(base, OPTIONS.engine, THIRTY_SIX.read_axes(), scout=False)
    return sweeps, asyncio.run(sweeps.start(made, THIRTY_SIX, base, OPTIONS, Client.by_key(client)))


def main() -> None:
    data = FileStore(Path(sys.argv[1]))
    with a_house(data, fast_backend(data), NO_FLOOR) as house:
        _, sweep = start(house)
        sys.stdout.write(f"{sweep.id}\n")
        sys.stdout.flush()
        time.sleep(600)


if __name__ == "__main__":
    main()
