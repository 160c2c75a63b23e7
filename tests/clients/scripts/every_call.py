"""Every call of fal's Python client, sync and async, on whatever server it is pointed at. Writes a report as JSON."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import fal_client
import httpx

ENDPOINT = "fal-ai/wan/v2.2-a14b/image-to-video"
PICTURE = sys.argv[1]
INPUT = {"image_url": "https://example.com/a.jpg", "prompt": "a walk", "resolution": "480p", "seed": 7}
ENDLESS = INPUT | {"prompt": "endless"}
FAULTY = INPUT | {"num_frames": 5}


def fault_of(error: fal_client.client.FalClientHTTPError) -> dict[str, Any]:
    return {"status": error.status_code, "message": error.message, "type": error.error_type}


def sync_calls() -> dict[str, Any]:
    report: dict[str, Any] = {}
    handle = fal_client.submit(ENDPOINT, arguments=INPUT)
    seen = [type(event).__name__ for event in handle.iter_events(with_logs=True, interval=0.01)]
    report["seen"] = list(dict.fromkeys(seen))
    report["result"] = handle.get()
    report["same result"] = fal_client.result(ENDPOINT, handle.request_id) == report["result"]
    done = fal_client.status(ENDPOINT, handle.request_id, with_logs=True)
    report["logs"], report["metrics"] = [line["message"] for line in done.logs], done.metrics
    report["clip"] = httpx.get(report["result"]["video"]["url"]).status_code
    report["run"] = fal_client.run(ENDPOINT, arguments=INPUT)["seed"]
    endless = fal_client.submit(ENDPOINT, arguments=ENDLESS)
    fal_client.cancel(ENDPOINT, endless.request_id)
    calls = {
        "cancelled": endless.get,
        "faulty": lambda: fal_client.run(ENDPOINT, arguments=FAULTY),
        "too large": lambda: fal_client.upload(bytes(26_000_000), "image/png"),
    }
    for name, call in calls.items():
        try:
            call()
        except fal_client.client.FalClientHTTPError as error:
            report[name] = fault_of(error)
    url = fal_client.upload_file(PICTURE)
    report["upload"] = httpx.get(url).content == Path(PICTURE).read_bytes()
    report["from upload"] = fal_client.subscribe(ENDPOINT, arguments=INPUT | {"image_url": url})
    report["from data uri"] = fal_client.subscribe(
        ENDPOINT, arguments=INPUT | {"image_url": fal_client.encode_file(PICTURE)}
    )
    return report


async def async_calls() -> dict[str, Any]:
    report: dict[str, Any] = {}
    handle = await fal_client.submit_async(ENDPOINT, arguments=INPUT)
    seen = [type(event).__name__ async for event in handle.iter_events(with_logs=True, interval=0.01)]
    report["seen"] = list(dict.fromkeys(seen))
    report["result"] = await handle.get()
    report["same result"] = await fal_client.result_async(ENDPOINT, handle.request_id) == report["result"]
    done = await fal_client.status_async(ENDPOINT, handle.request_id, with_logs=True)
    report["logs"], report["metrics"] = [line["message"] for line in done.logs], done.metrics
    report["run"] = (await fal_client.run_async(ENDPOINT, arguments=INPUT))["seed"]
    endless = await fal_client.submit_async(ENDPOINT, arguments=ENDLESS)
    await fal_client.cancel_async(ENDPOINT, endless.request_id)
    for name, call in {
        "cancelled": endless.get,
        "faulty": lambda: fal_client.run_async(ENDPOINT, arguments=FAULTY),
    }.items():
        try:
            await call()
        except fal_client.client.FalClientHTTPError as error:
            report[name] = fault_of(error)
    url = await fal_client.upload_file_async(PICTURE)
    report["from upload"] = await fal_client.subscribe_async(ENDPOINT, arguments=INPUT | {"image_url": url})
    return report


json.dump({"sync": sync_calls(), "async": asyncio.run(async_calls())}, sys.stdout)
