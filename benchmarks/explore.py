"""CPU of the web process for one cell of a grid, against a single clip's: `python -m benchmarks.explore [--cells 36]`.

Both as a visitor's page asks for them and watches them, with the quick fake backend of `benchmarks.load_server`, whose
clips cost nothing. Prints milliseconds of CPU and their ratio, which is what counts: both are of one run.
"""

import argparse
import asyncio
import sys
from itertools import pairwise

from benchmarks.load import Server, client, running
from benchmarks.visitors import Measured, Page, picture

JOB_S = 0.02
WARM_UP = 4


async def used(server: Server, cells: int) -> list[float]:
    """Seconds of CPU before, between and after `cells` single clips and a grid of as many."""
    async with client(server) as http:
        page = Page(http, "app", (await http.get("/config")).json())
        await page.upload(picture())
        for _ in range(WARM_UP):
            await page.run_job(Measured())
        await page.run_grid(range(1, 1 + WARM_UP))
        at = [server.usage().cpu_s]
        for _ in range(cells):
            await page.run_job(Measured())
        at.append(server.usage().cpu_s)
        await page.run_grid(range(1000, 1000 + cells))
        at.append(server.usage().cpu_s)
    made = len(list(server.files.clip("any").parent.glob("*.mp4")))
    assert made == 2 * (WARM_UP + cells), f"{made} clips were made"
    return at


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=36)
    cells = parser.parse_args().cells
    with running("app", job_s=JOB_S) as server:
        clip, cell = (1000 * (end - start) / cells for start, end in pairwise(asyncio.run(used(server, cells))))
    sys.stdout.write(f"single clip {clip:.0f} ms · cell of {cells} {cell:.0f} ms · ratio {cell / clip:.2f}\n")


if __name__ == "__main__":
    main()
