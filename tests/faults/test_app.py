"""The whole app is killed in the middle of its work: what it had accepted is finished after the next start."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.app import data_uri, free_port, outcome_of, running_app
from wan_core.endpoints import IMAGE_TO_VIDEO

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

REQUEST = {"prompt": "pan left", "num_frames": 17, "resolution": "480p", "interpolator_model": "none"}


def submit(home: str, **values: Any) -> dict[str, Any]:
    request = REQUEST | {"image_url": data_uri()} | values
    answer: dict[str, Any] = httpx.post(f"{home}/queue/{IMAGE_TO_VIDEO.id}", json=request, timeout=30).json()
    return answer


def test_kill_9_of_the_app_loses_no_accepted_job(tmp_path: Path) -> None:
    port = free_port()
    with running_app(tmp_path, port) as app:
        running = submit(app.home, num_inference_steps=40, seed=1)
        waiting = submit(app.home, num_inference_steps=2, seed=2)
        while httpx.get(running["status_url"], timeout=30).json()["status"] == "IN_QUEUE":
            pass
        app.process.kill()
        app.process.wait()
    with running_app(tmp_path, port):
        for job, seed in ((running, 1), (waiting, 2)):
            assert outcome_of(job["status_url"]).get("error") is None
            result = httpx.get(job["response_url"], timeout=30).json()
            assert result["seed"] == seed
            assert httpx.get(result["video"]["url"], timeout=30).content[4:8] == b"ftyp"


def test_a_polite_stop_loses_no_accepted_job_either_and_leaves_no_process(tmp_path: Path) -> None:
    port = free_port()
    with running_app(tmp_path, port) as app:
        job = submit(app.home, num_inference_steps=40)
        while httpx.get(job["status_url"], timeout=30).json()["status"] == "IN_QUEUE":
            pass
        app.process.terminate()
        app.process.wait(timeout=30)
        assert not processes_of(tmp_path), "the worker has ended with the app"
    with running_app(tmp_path, port):
        assert outcome_of(job["status_url"]).get("error") is None


def processes_of(data: Path) -> list[str]:
    """Command lines of the processes that work on `data`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"WAN_DATA_DIR={data}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found
