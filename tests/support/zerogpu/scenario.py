"""A service on simulated ZeroGPU: `python -m tests.support.zerogpu.scenario FOLDER MODE [VISITORS] [CLIPS]`.

Print one JSON line: each job's outcome and the device API's requests. MODE: one of the device API's, `cancel` or
`kill`. CLIPS: each visitor sends a group of so many; with `quota`, the device API lends for three of them. WAN_ENGINE:
the engine, by default the miniature.
"""

import asyncio
import hashlib
import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from tests.support.zerogpu import device_api, simulate  # isort: skip

import gradio as gr
from gradio.context import LocalContext
from spaces.zero import torch as zero_torch
from starlette.requests import Request

from tests.support.jobs import NO_FLOOR, SHORT, a_request, grey_picture
from wan_core import settings
from wan_core.backends.zerogpu import ZeroGpuBackend
from wan_core.events import JOB, Group, JobOptions, Step
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord
from wan_core.jobs.runner import JobRunner, WorkerPool
from wan_core.jobs.service import JobService, Submission
from wan_core.jobs.store import JobStore

QUOTA_S = 36  # a card for three short clips of the miniature


def visitor(number: int) -> gr.Request:
    headers = [(b"x-ip-token", f"header.payload{number}.signature".encode())]
    return gr.Request(Request({"type": "http", "headers": headers, "method": "POST", "path": "/"}))


async def one(
    jobs: JobService, page: gr.Blocks, number: int, mode: str, options: JobOptions, clips: int
) -> list[JobRecord]:
    """The jobs of a visitor: one, or `clips` that are a group."""
    LocalContext.request.set(visitor(number))
    LocalContext.blocks.set(page)
    many = 6 if clips else 20  # enough to act in their midst
    values = SHORT | {"num_inference_steps": many if mode in ("cancel", "kill") else 2}
    submissions = [Submission(a_request(**values, seed=seed), options) for seed in range(clips or 1)]
    group = Group(f"grid-{number}", 0, clips) if clips else None
    records = await jobs.submit_many(submissions, Client.by_key(str(number)), group=group)
    acted = False
    async for event in jobs.watch(records[0]):
        if isinstance(event, Step) and not acted and mode in ("cancel", "kill"):
            acted = True
            kill_worker() if mode == "kill" else [jobs.cancel(record) for record in records]
    for record in records[1:]:
        [event async for event in jobs.watch(record)]
    return records


def kill_worker() -> None:
    """Kill the forked process that has the GPU, once."""
    for task in Path("/proc/self/task").glob("*/children"):
        for pid in task.read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"scenario" in command:
                os.kill(int(pid), 9)
                return


async def all_at_once(
    jobs: JobService, page: gr.Blocks, mode: str, visitors: int, options: JobOptions, clips: int
) -> list[JobRecord]:
    every = await asyncio.gather(*(one(jobs, page, number, mode, options, clips) for number in range(visitors)))
    return [record for records in every for record in records]


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


def main() -> None:
    folder, mode, visitors, clips = sys.argv[1], sys.argv[2], *(int(text) for text in sys.argv[3:5])
    os.environ["WAN_DATA_DIR"] = folder
    host = settings.load()
    host.files.root.mkdir(parents=True, exist_ok=True)
    engine = host.engine or "miniature"
    backend = ZeroGpuBackend(host, engine)
    store = JobStore(host.files.database)
    runner = JobRunner(store, {"local": WorkerPool(backend, concurrency=0)}, NO_FLOOR, per_client=True)
    jobs = JobService(store, runner, host.files, NO_FLOOR, grey_picture, lambda where, engine: "local", per_client=True)
    with gr.Blocks() as page:
        gr.Markdown("ZeroGPU packs the weights when a page is launched.")
    page.queue(max_size=20).launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    runner.start()
    device_api.STATE["mode"] = mode if mode not in ("cancel", "kill") else "ok"
    if mode == "quota":
        device_api.STATE["left"] = QUOTA_S
    records = asyncio.run(all_at_once(jobs, page, mode, visitors, JobOptions(engine), clips))
    report = {
        "outcomes": [type(record.outcome).__name__ for record in records],
        "messages": [record.error.message if record.error else "" for record in records],
        "types": [record.error.type if record.error else "" for record in records],
        "attempts": [record.attempts for record in records],
        "stages": [list(record.stage_seconds()) for record in records],
        "asked": device_api.LOG,
        "jobs": [JOB.dump_json(record.job).decode() for record in records],
        "frames": [sha256_of(host.files.frames(record.job.id)) for record in records],
        "packed_bytes": zero_torch.size(),
    }
    sys.stdout.write(json.dumps(report, default=asdict) + "\n")
    sys.stdout.flush()
    os._exit(0)  # forked workers hold our pipes open


if __name__ == "__main__":
    assert simulate and threading
    main()
