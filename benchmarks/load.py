"""Hold the app under load, beside bare Gradio in the same minutes.

    python -m benchmarks.load [--only L1] [--rounds 3] [--seconds 20]

Both servers run the same work: a fake clip of 0.2 s. Processor seconds and ratios count: the machine is shared, so the
seconds on the clock are those of a busy hour. Printed per row: what was promised, and what was found.

L1  50 visitors at the page, each with a job waiting, and 20 status reads a second
L2  500 submissions in 2 s, from one client and from 100
L3  one client with two jobs, ten with one
L4  1,000 jobs with pictures and clips: files open, threads, memory, disk
L5  100 uploads of 1 kB/s at once
L6  nobody is there
L7  what it costs to accept a picture, in a child of its own, against Pillow's decoding and PNG in this process
L8  3,000 sessions of the page, opened and closed: memory, files open, threads
"""

import argparse
import asyncio
import base64
import io
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
from PIL import Image

from benchmarks.visitors import Measured, Page, Usage, picture, read_statuses
from tests.support.app import data_uri, free_port
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.files import FileStore
from wan_core.settings import Limits

VISITORS = 50
STATUSES_A_SECOND = 20
SUBMIT = f"/queue/{IMAGE_TO_VIDEO.id}"
KEYS = [f"key-{number}" for number in range(100)]


@dataclass(frozen=True)
class Server:
    kind: str
    home: str
    process: int
    files: FileStore

    def usage(self) -> Usage:
        return Usage.of(self.process)


@contextmanager
def running(kind: str, *, job_s: float = 0.2, is_public: bool = False) -> Iterator[Server]:
    """Serve in a process of its own. `is_public`: with the limits of each client, and `KEYS`."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        own = {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": f"{folder}/gradio", "WAN_ENGINE": "miniature"}
        own |= {"GRADIO_SERVER_NAME": "0.0.0.0", "WAN_API_KEYS": " ".join(KEYS)} if is_public else {}
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.load_server", kind]
        command += ["--data", f"{folder}/data", "--job-s", str(job_s)]
        process = subprocess.Popen(command, env=os.environ | own, stdout=subprocess.DEVNULL)
        try:
            home = f"http://127.0.0.1:{port}"
            wait_for(home, process)
            yield Server(kind, home, process.pid, FileStore(Path(folder) / "data"))
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_for(home: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{home}/config", timeout=30).status_code == 200:
                return
        time.sleep(0.3)
    raise SystemExit("the server has ended")


def client(server: Server, key: str | None = None) -> httpx.AsyncClient:
    headers = {"authorization": f"Key {key}"} if key else {}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    return httpx.AsyncClient(base_url=server.home, timeout=120, limits=limits, headers=headers)


def p95(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=20)[18] if len(seconds) > 1 else max(seconds, default=0.0)


# L1


@dataclass(frozen=True)
class Round:
    measured: Measured
    cpu_s: float
    grown_mb: float

    @property
    def cpu_ms(self) -> float:
        return self.cpu_s / max(1, len(self.measured.whole_s)) * 1000


async def round_of_visitors(server: Server, seconds: float) -> Round:
    measured, content = Measured(), picture()
    async with client(server) as http, client(server) as other:
        config = (await http.get("/config")).json()
        pages = [Page(http, server.kind, config) for _ in range(VISITORS)]
        for page in pages:
            await page.upload(content)
        before, until = server.usage(), time.monotonic() + seconds
        statuses = asyncio.create_task(read_statuses(other, pages, until, STATUSES_A_SECOND, measured))
        await asyncio.gather(statuses, *(visit(page, until, measured) for page in pages))
        after = server.usage()
    return Round(measured, after.cpu_s - before.cpu_s, after.rss_mb - before.rss_mb)


async def visit(page: Page, until: float, measured: Measured) -> None:
    while time.monotonic() < until:
        try:
            await page.run_job(measured)
        except (httpx.HTTPError, ValueError) as error:
            measured.errors.append(f"{type(error).__name__}: {error}"[:300])
            await asyncio.sleep(0.5)


def waiting_visitors(asked: argparse.Namespace) -> None:
    rounds: dict[str, list[Round]] = {"bare": [], "app": []}
    with running("bare") as bare, running("app") as app:
        for server in (bare, app):
            asyncio.run(round_of_visitors(server, 3))  # code is warm
        for _ in range(asked.rounds):
            for server in (bare, app):
                rounds[server.kind].append(asyncio.run(round_of_visitors(server, asked.seconds)))
    for kind, found in rounds.items():
        print(f"L1 {kind:>4}: {told(found)}", flush=True)
    print(f"L1 ratios to bare Gradio: {ratios(rounds['app'], rounds['bare'])}")


def told(rounds: Sequence[Round]) -> str:
    whole = [s for each in rounds for s in each.measured.whole_s]
    statuses = [s for each in rounds for s in each.measured.status_s]
    errors = Counter(error for each in rounds for error in each.measured.errors)
    return (
        f"{len(whole)} jobs · {median(each.cpu_ms for each in rounds):.0f} ms of processor a job · first message p95 "
        f"{median(p95(each.measured.first_s) for each in rounds):.2f} s · status p95 {p95(statuses) * 1000:.0f} ms · "
        f"+{max(each.grown_mb for each in rounds):.0f} MB · "
        f"{sum(errors.values())} errors {dict(errors.most_common(2)) or ''}"
    )


def ratios(app: Sequence[Round], bare: Sequence[Round]) -> str:
    cpu = median(a.cpu_ms / b.cpu_ms for a, b in zip(app, bare, strict=True))
    first = median(p95(a.measured.first_s) / p95(b.measured.first_s) for a, b in zip(app, bare, strict=True))
    return f"processor {cpu:.2f} (aim: at most 2), first message p95 {first:.2f} (aim: at most 2)"


# L2


@dataclass(frozen=True)
class Answer:
    status: int
    took_s: float
    has_retry_after: bool


async def submit(home: httpx.URL, request: bytes, after_s: float) -> Answer:
    """By hand: 500 at once would take httpx 5 s of this machine's processor, and that would be measured."""
    await asyncio.sleep(after_s)
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(home.host, home.port)
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    writer.close()
    return Answer(int(head.split()[1]), time.monotonic() - began, b"retry-after:" in head)


def as_sent(home: httpx.URL, body: dict[str, Any], key: str) -> bytes:
    content = json.dumps(body).encode()
    lines = [f"POST {SUBMIT} HTTP/1.1", f"host: {home.host}:{home.port}", f"authorization: Key {key}"]
    lines += ["content-type: application/json", f"content-length: {len(content)}", "connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + content


async def burst(server: Server, keys: Sequence[str]) -> tuple[list[Answer], list[float]]:
    """500 submissions in 2 s, and the seconds that the page took meanwhile."""
    home, pages = httpx.URL(server.home), []
    requests = [as_sent(home, {"prompt": "a walk", "image_url": data_uri(256)}, key) for key in keys]
    async with client(server) as other:
        sent = [submit(home, requests[number % len(requests)], number / 250) for number in range(500)]
        task = asyncio.gather(*sent)
        while not task.done():
            began = time.monotonic()
            await other.get("/")
            pages.append(time.monotonic() - began)
            await asyncio.sleep(0.05)
        return await task, pages


def bursts(asked: argparse.Namespace) -> None:
    for name, keys, most in (("one client", KEYS[:1], 3), ("100 clients", KEYS, Limits().waiting_jobs + 1)):
        with running("app", job_s=120, is_public=True) as server:
            answers, pages = asyncio.run(burst(server, keys))
        accepted = sum(answer.status == 200 for answer in answers)
        refused = [answer for answer in answers if answer.status == 429]
        others = Counter(answer.status for answer in answers if answer.status not in (200, 429))
        without = sum(not answer.has_retry_after for answer in refused)
        print(
            f"L2 500 from {name}: {accepted} accepted with the running one (at most {most}) · {len(refused)} × 429, "
            f"{without} without Retry-After, p95 {p95([a.took_s for a in refused]):.2f} s (aim: 1) · "
            f"others {dict(others)} · page p95 {p95(pages) * 1000:.0f} ms (aim: 500)",
            flush=True,
        )


# L3


async def order_of_ends(server: Server) -> list[str]:
    """Who finished, in order: `greedy` has two jobs, ten others one each, all behind one that runs."""
    body = {"prompt": "a walk", "image_url": data_uri()}
    ended: list[str] = []

    async def follow(http: httpx.AsyncClient, name: str, key: str, url: str) -> None:
        while (await http.get(url, headers={"authorization": f"Key {key}"})).status_code == 202:
            await asyncio.sleep(0.02)
        ended.append(name)

    async with client(server) as http:
        jobs = [("first", KEYS[99]), ("greedy", KEYS[0]), ("greedy", KEYS[0])]
        jobs += [(f"other {number}", KEYS[number]) for number in range(1, 11)]
        urls = []
        for _, key in jobs:
            answer = await http.post(SUBMIT, json=body, headers={"authorization": f"Key {key}"})
            urls.append(answer.raise_for_status().json()["status_url"].partition("/queue/")[2])
        await asyncio.gather(*(follow(http, *job, f"/queue/{url}") for job, url in zip(jobs, urls, strict=True)))
    return ended


def fairness(asked: argparse.Namespace) -> None:
    with running("app", job_s=1.0, is_public=True) as server:
        ended = asyncio.run(order_of_ends(server))
    last = "after every other's first" if ended[-1] == "greedy" else "before another's first"
    print(f"L3 the second job of a client with two ran {last} (promise: nobody waits for more than one round)")


# L4


async def many_jobs(server: Server, count: int) -> Counter[str]:
    """Run `count` jobs, 25 at a time, each with a picture of its own upload; the ends by status."""
    ends: Counter[str] = Counter()
    numbers = iter(range(count))
    body = {"prompt": "a walk", "image_url": data_uri(256)}

    async def work(http: httpx.AsyncClient) -> None:
        for _ in numbers:
            answer = (await http.post(SUBMIT, json=body)).raise_for_status().json()
            url = answer["status_url"].partition("/queue/")[2]
            while (status := await http.get(f"/queue/{url}?logs=1")).status_code == 202:
                await asyncio.sleep(0.05)
            ends["failed" if "error" in status.json() else "done"] += 1

    async with client(server) as http:
        await asyncio.gather(*(work(http) for _ in range(25)))
    return ends


def soak(asked: argparse.Namespace) -> None:
    with running("app", job_s=0.01) as server:
        asyncio.run(many_jobs(server, 200))  # what is allocated once
        time.sleep(6)  # connections of the clients are closed
        before = server.usage()
        ends = asyncio.run(many_jobs(server, asked.jobs))
        time.sleep(6)
        after, orphans = server.usage(), count_orphans(server.files)
        disk = sum(path.stat().st_size for path in server.files.all_files()) / 1e6
    print(
        f"L4 {asked.jobs} jobs: {dict(ends)} · open files {before.fds} → {after.fds} · threads {before.threads} → "
        f"{after.threads} · memory {before.rss_mb:.0f} → {after.rss_mb:.0f} MB "
        f"({(after.rss_mb / before.rss_mb - 1):+.1%}, aim: at most 5 %) · {disk:.0f} MB of "
        f"{Limits().keep_bytes / 1e6:.0f} on disk · {orphans} files of no job"
    )


def count_orphans(files: FileStore) -> int:
    with closing(sqlite3.connect(files.database)) as db:
        known = {row[0] for row in db.execute("SELECT id FROM jobs UNION SELECT picture FROM job_pictures")}
    return sum(path.name.split(".")[0] not in known for path in files.all_files())


# L5


def drip(home: str, until: float) -> None:
    """An upload of 1 kB a second."""
    host, _, port = home.removeprefix("http://").partition(":")
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    )
    with socket.create_connection((host, int(port)), timeout=30) as line, suppress(OSError):
        line.sendall(head.encode())
        while time.monotonic() < until:
            line.sendall(bytes(1000))
            time.sleep(1)


async def page_times(server: Server, seconds: float) -> list[float]:
    times, until = [], time.monotonic() + seconds
    async with client(server) as http:
        while time.monotonic() < until:
            began = time.monotonic()
            await http.get("/")
            times.append(time.monotonic() - began)
            await asyncio.sleep(0.05)
    return times


async def slow_uploads(server: Server, seconds: float) -> tuple[list[float], list[float]]:
    quiet = await page_times(server, 5)
    until = time.monotonic() + seconds
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(100) as pool:
        dripping = [loop.run_in_executor(pool, drip, server.home, until) for _ in range(100)]
        await asyncio.sleep(1)
        busy = await page_times(server, seconds - 2)
        await asyncio.gather(*dripping)
    return quiet, busy


def drips(asked: argparse.Namespace) -> None:
    with running("app") as server:
        quiet, busy = asyncio.run(slow_uploads(server, asked.seconds))
    print(
        f"L5 100 uploads of 1 kB/s: page p95 {p95(busy) * 1000:.0f} ms, {p95(quiet) * 1000:.0f} without them "
        f"(aim: 500) · each ends after {Limits().body_deadline_s:.0f} s (`python -m benchmarks.drips`)"
    )


# L6


def at_rest(asked: argparse.Namespace) -> None:
    told = {}
    for kind in ("bare", "app"):
        with running(kind) as server:
            time.sleep(10)  # all that is done once at the start is over
            before = server.usage().cpu_s
            time.sleep(asked.seconds)
            told[kind] = f"{(server.usage().cpu_s - before) / asked.seconds * 100:.2f} %"
    print(f"L6 nobody is there: {told['app']} of a core, bare Gradio {told['bare']}")


# L7


def accepted_pictures(asked: argparse.Namespace) -> None:
    content = picture()
    body = {"prompt": "a walk", "image_url": "data:image/jpeg;base64," + base64.b64encode(content).decode()}
    with running("app", job_s=300) as server, httpx.Client(base_url=server.home, timeout=60) as http:
        for _ in range(3):
            http.post(SUBMIT, json=body).raise_for_status()
        before = server.usage().cpu_s
        for _ in range(40):
            http.post(SUBMIT, json=body).raise_for_status()
        taken_ms = (server.usage().cpu_s - before) / 40 * 1000
    began = time.process_time()
    for _ in range(40):
        with Image.open(io.BytesIO(content)) as opened:
            opened.convert("RGB").save(io.BytesIO(), "PNG", compress_level=1)
    by_hand_ms = (time.process_time() - began) / 40 * 1000
    print(f"L7 a picture of 832 pixels, accepted: {taken_ms:.0f} ms (aim: 50), by Pillow alone {by_hand_ms:.0f}")


# L8


async def sessions(server: Server, count: int) -> list[float]:
    """Open and close `count` pages, five at a time; the memory in MB after each tenth."""
    async with client(server) as http:
        config, memory_mb = (await http.get("/config")).json(), []
        for _ in range(10):
            for _ in range(count // 50):
                await asyncio.gather(*(Page(http, server.kind, config).open_and_leave() for _ in range(5)))
            memory_mb.append(server.usage().rss_mb)
    return memory_mb


def page_sessions(asked: argparse.Namespace) -> None:
    with running("app") as server:
        before = server.usage()
        memory_mb = asyncio.run(sessions(server, asked.sessions))
        time.sleep(6)  # connections of the clients are closed
        after = server.usage()
    print(
        f"L8 {asked.sessions} sessions of the page: memory {before.rss_mb:.0f} → "
        f"{' → '.join(f'{each:.0f}' for each in memory_mb)} MB, {memory_mb[-1] - memory_mb[0]:+.0f} MB from the first "
        f"tenth to the last (aim: 60) · open files {before.fds} → {after.fds} · threads {before.threads} → "
        f"{after.threads}"
    )


ROWS = {
    "L1": waiting_visitors,
    "L2": bursts,
    "L3": fairness,
    "L4": soak,
    "L5": drips,
    "L6": at_rest,
    "L7": accepted_pictures,
    "L8": page_sessions,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name begins with this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="of a round")
    parser.add_argument("--jobs", type=int, default=1000, help="of the soak")
    parser.add_argument("--sessions", type=int, default=3000, help="of the page, a multiple of 50")
    asked = parser.parse_args()
    for name, row in ROWS.items():
        if name.startswith(asked.only):
            row(asked)


if __name__ == "__main__":
    main()
