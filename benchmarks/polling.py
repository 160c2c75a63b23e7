"""Measure what a status poll costs: 100 clients asking every 0.1 s, against a constant route of the same app.

    python -m benchmarks.polling [--clients 100] [--seconds 10] [--page]

Both alternate in one run, because the machine is shared. Printed: the server's processor seconds per 1,000 answers,
their ratio (aim: at most 1.6), answer times, and statements to the database meanwhile (aim: 0).
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import httpx

from tests.clients.conftest import twin_process
from wan_core.endpoints import IMAGE_TO_VIDEO

BODY = {"image_url": "https://example.com/a.jpg", "prompt": "endless"}
EVERY_S = 0.1


@dataclass(frozen=True)
class Measured:
    """One round; `times` are seconds per answer."""

    answers: int
    cpu_s: float
    times: list[float]

    @property
    def per_thousand(self) -> float:
        return self.cpu_s / self.answers * 1000


def cpu_seconds(process: int) -> float:
    """User and system time of `process` (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def poll(http: httpx.AsyncClient, url: str, until: float, times: list[float]) -> None:
    """Request `url` every 0.1 s, as fal's Python client does."""
    while (began := time.monotonic()) < until:
        answer = await http.get(url)
        assert answer.status_code in (200, 202)
        took = time.monotonic() - began
        times.append(took)
        await asyncio.sleep(max(0.0, EVERY_S - took))


async def round_of(http: httpx.AsyncClient, url: str, process: int, clients: int, seconds: float) -> Measured:
    times: list[float] = []
    before, until = cpu_seconds(process), time.monotonic() + seconds
    await asyncio.gather(*(poll(http, url, until, times) for _ in range(clients)))
    return Measured(len(times), cpu_seconds(process) - before, times)


async def main(asked: argparse.Namespace, home: str, process: int) -> None:
    submitted = httpx.post(f"{home}/queue/{IMAGE_TO_VIDEO.id}", json=BODY, timeout=30).json()
    await asyncio.sleep(1)
    places = {"constant": f"{home}/constant", "status": f"{submitted['status_url']}?logs=true"}
    rounds: dict[str, list[Measured]] = {name: [] for name in places}
    statements = httpx.get(f"{home}/statements").text
    connections = httpx.Limits(max_connections=asked.clients, max_keepalive_connections=asked.clients)
    async with httpx.AsyncClient(limits=connections, timeout=30, headers={"authorization": "Key id:secret"}) as http:
        for url in places.values():
            await round_of(http, url, process, asked.clients, 1)  # connections are made, code is warm
        for _ in range(asked.rounds):
            for name, url in places.items():
                seconds = asked.seconds / asked.rounds
                rounds[name].append(await round_of(http, url, process, asked.clients, seconds))
    for name, measured in rounds.items():
        report(name, measured)
    ratio = median(m.per_thousand for m in rounds["status"]) / median(m.per_thousand for m in rounds["constant"])
    print(f"ratio {ratio:.2f} (aim: at most 1.60)")
    asked_for = int(httpx.get(f"{home}/statements").text) - int(statements)
    print(f"statements to the database meanwhile: {asked_for} (aim: 0)")
    httpx.put(submitted["cancel_url"])


def report(name: str, measured: list[Measured]) -> None:
    times = [seconds for part in measured for seconds in part.times]
    p95 = quantiles(times, n=20)[18] * 1000
    cost = median(part.per_thousand for part in measured)
    print(f"{name:>8}: {cost:.3f} s of processor per 1,000 answers · {len(times)} answers · p95 {p95:.0f} ms")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=12, help="of each route, in all")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--page", action="store_true", help="serve a page of Gradio's too, as the app does")
    return parser.parse_args()


if __name__ == "__main__":
    asked = parsed()
    options = ["--page"] if asked.page else []
    with tempfile.TemporaryDirectory() as folder:
        with twin_process(Path(folder), *options) as (home, process):
            sys.stdout.write(f"{asked.clients} clients, every {EVERY_S} s, {home}\n")
            asyncio.run(main(asked, home, process.pid))
