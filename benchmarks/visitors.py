"""Visitors for `benchmarks.load`: what a browser sends for one job, without the browser; and what a server has used."""

import asyncio
import io
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

PICTURE_SIDE = 832


def picture() -> bytes:
    """A JPEG with as much detail as a photo."""
    noise = Image.effect_noise((PICTURE_SIDE // 4, PICTURE_SIDE // 4), 60).resize((PICTURE_SIDE, PICTURE_SIDE))
    stored = io.BytesIO()
    Image.merge("RGB", [noise, noise.transpose(Image.Transpose.ROTATE_90), noise]).save(stored, "JPEG", quality=90)
    return stored.getvalue()


@dataclass
class Measured:
    """Seconds from a click to the first message that says where the job stands, and to its end; of status reads."""

    first_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)
    status_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Page:
    """One tab. `kind`: "app" or "bare"."""

    def __init__(self, http: httpx.AsyncClient, kind: str, config: dict[str, Any]) -> None:
        self._http, self._kind = http, kind
        self._session = uuid.uuid4().hex
        self._click, self._watch, self._values = _events(config, "Generate")
        self._opening = _opening(config)
        self._grid = _events(config, "Make the grid") if kind == "app" else None
        self.job: str | None = None

    async def upload(self, content: bytes) -> None:
        answer = await self._http.post("/gradio_api/upload", files={"files": ("a.jpg", content, "image/jpeg")})
        self._picture = {"path": answer.raise_for_status().json()[0], "meta": {"_type": "gradio.FileData"}}

    async def run_job(self, measured: Measured) -> None:
        began, first = time.monotonic(), None
        visit: dict[str, Any] = {}
        if self._kind == "app":
            values = [value if name != "picture" else self._picture for name, value in self._values]
            values = [
                f"walk {uuid.uuid4()}" if name == "prompt" else v
                for (name, _), v in zip(self._values, values, strict=True)
            ]
            async for message in self._messages(self._click, values):
                if _is_end(message):
                    visit = message["output"]["data"][0]
                elif first is None and message["msg"] == "process_generating":  # that its picture is being read
                    first = time.monotonic()
                    measured.first_s.append(first - began)
            self.job = visit["jobs"][-1]
            messages = self._messages(self._watch, [visit])
        else:
            messages = self._messages(self._click, [self._picture, "a walk"])
        async for message in messages:
            says = message["msg"] in ("process_generating", "process_completed") or self._kind == "bare"
            if first is None and says:
                first = time.monotonic()
                measured.first_s.append(first - began)
        measured.whole_s.append(time.monotonic() - began)

    async def run_grid(self, seeds: range) -> None:
        """A grid with a clip for each seed."""
        assert self._grid is not None
        click, watch, values = self._grid
        typed = {"picture": self._picture, "prompt": "a walk", "axis-knob-0": "seed", "scout": False}
        typed |= {"axis-values-0": f"{seeds[0]}..{seeds[-1]}", "axis-knob-1": "", "axis-values-1": ""}
        sent = [typed.get(name, value) for name, value in values]
        (sweep,) = [m["output"]["data"][0] async for m in self._messages(click, sent) if _is_end(m)]
        async for _ in self._messages(watch, [sweep]):
            pass

    async def open_and_leave(self) -> None:
        """Load the page, ask what it shows, and let it follow a job that is not there."""
        (await self._http.get("/")).raise_for_status()
        body = {"data": [{}, ""], "fn_index": self._opening, "session_hash": self._session, "event_data": None}
        answer = await self._http.post("/gradio_api/run/predict", json=body)
        answer.raise_for_status()
        async for _ in self._messages(self._watch, [{}]):
            pass

    async def _messages(self, event: int, data: list[Any]) -> AsyncIterator[dict[str, Any]]:
        """Join the queue, and yield what is said of this event. Raises ValueError if it fails."""
        body = {"data": data, "fn_index": event, "session_hash": self._session, "event_data": None, "trigger_id": None}
        answer = await self._http.post("/gradio_api/queue/join", json=body)
        if answer.status_code != 200:
            raise ValueError(f"join: {answer.status_code} {answer.text[:200]}")
        async with self._http.stream("GET", f"/gradio_api/queue/data?session_hash={self._session}") as stream:
            async for line in stream.aiter_lines():
                if not line.startswith("data: "):
                    continue
                message = json.loads(line[6:])
                if message["msg"] == "process_completed" and not message["success"]:
                    raise ValueError(f"failed: {message['output']}")
                if message["msg"] == "close_stream":
                    return
                yield message


def _is_end(message: dict[str, Any]) -> bool:
    return bool(message["msg"] == "process_completed")


def _events(config: dict[str, Any], button: str) -> tuple[int, int, list[tuple[str, Any]]]:
    """A click on `button`, the event that watches after it, and the click's inputs: name and value of each."""
    parts = {part["id"]: part for part in config["components"]}
    buttons = [number for number, part in parts.items() if part["props"].get("value") == button]
    click = next(event for event in config["dependencies"] if [buttons[0], "click"] in event["targets"])
    after = [
        event for event in config["dependencies"] if event.get("trigger_after") == click["id"] and event["outputs"]
    ]
    values = [(parts[i]["props"].get("elem_id") or "", parts[i]["props"].get("value")) for i in click["inputs"]]
    return click["id"], after[-1]["id"] if after else click["id"], values


def _opening(config: dict[str, Any]) -> int:
    """The event of a page's opening that changes most."""
    events = [event for event in config["dependencies"] if any(target[1] == "load" for target in event["targets"])]
    return max(events, key=lambda event: len(event["outputs"]))["id"] if events else -1


@dataclass(frozen=True)
class Usage:
    """Of a server's process with its children. Seconds of processor, MB, counts."""

    cpu_s: float
    rss_mb: float
    fds: int
    threads: int

    @classmethod
    def of(cls, process: int) -> "Usage":
        for _ in range(10):
            with suppress(FileNotFoundError, ProcessLookupError):  # a child has ended meanwhile
                return cls._now(process)
        raise ProcessLookupError(f"process {process} has ended")

    @classmethod
    def _now(cls, process: int) -> "Usage":
        tree = _tree(process)
        return cls(
            sum(map(_cpu_s, tree)),
            sum(int(_read(each, "statm").split()[1]) for each in tree) * os.sysconf("SC_PAGE_SIZE") / 1e6,
            len(list(Path(f"/proc/{process}/fd").iterdir())),
            len(list(Path(f"/proc/{process}/task").iterdir())),
        )


def _tree(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task").glob("*/children")
    found = [int(child) for path in children for child in path.read_text().split()]
    return [process, *(each for child in found for each in _tree(child))]


def _cpu_s(process: int) -> float:
    """User and system time of `process` and of its children that have ended (proc(5), fields 14 to 17)."""
    fields = _read(process, "stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _read(process: int, name: str) -> str:
    return Path(f"/proc/{process}/{name}").read_text()


async def read_statuses(
    http: httpx.AsyncClient, pages: list[Page], until: float, a_second: int, measured: Measured
) -> None:
    """Ask for a job's status `a_second` times a second; of bare Gradio, for its queue's."""
    number = 0
    while time.monotonic() < until:
        job = pages[number % len(pages)].job
        url = "/gradio_api/queue/status" if job is None else f"/queue/fal-ai/wan/requests/{job}/status"
        began = time.monotonic()
        answer = await http.get(url)
        measured.status_s.append(time.monotonic() - began)
        if answer.status_code not in (200, 202):
            measured.errors.append(f"status: {answer.status_code}")
        number += 1
        await asyncio.sleep(max(0.0, 1 / a_second - (time.monotonic() - began)))
