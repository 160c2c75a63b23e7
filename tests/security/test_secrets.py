"""The host's keys appear nowhere: no page, answer, log, row, file or error shows them."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.app import ROOT, data_uri, outcome_of, running_app
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.settings import Settings, load

pytestmark = [pytest.mark.security, pytest.mark.timeout(900)]

SECRETS = {"FAL_KEY": "canary-fal:key", "WAN_API_KEYS": "canary-api-key", "HF_TOKEN": "hf_canaryTOKEN"}
PAGES = ("/", "/config", "/gradio_api/info", "/gradio_api/openapi.json", "/api/openapi/queue/openapi.json", "/nowhere")


def test_no_secret_of_the_host_is_seen_from_outside_or_left_behind(tmp_path: Path) -> None:
    request = {"image_url": data_uri(), "prompt": "pan left", "num_frames": 17, "num_inference_steps": 2}
    key = {"Authorization": f"Key {SECRETS['WAN_API_KEYS']}"}
    seen: list[bytes] = []
    with running_app(tmp_path / "data", **SECRETS) as app:
        seen += [httpx.get(app.home + page, timeout=30).content for page in PAGES]
        for headers in (key, {"Authorization": "Key wrong"}, {}):
            answer = httpx.post(f"{app.home}/queue/{IMAGE_TO_VIDEO.id}", json=request, headers=headers, timeout=60)
            seen.append(answer.content)
            assert answer.status_code == (200 if headers is key else 401)
            if headers is key:
                job = answer.json()
        done = httpx.Client(headers=key)
        status = outcome_of(job["status_url"], headers=key)
        seen += [str(status).encode(), done.get(job["response_url"]).content]
        seen.append(httpx.get(done.get(job["response_url"]).json()["video"]["url"]).content)
        done.close()
    seen += [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    for secret in SECRETS.values():
        assert not [text for text in seen if secret.encode() in text]


def test_settings_show_no_secret_however_they_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    host = load()
    shown = f"{host} {host!r} {host.model_dump()} {host.model_dump_json()}"
    assert isinstance(host, Settings) and not [secret for secret in SECRETS.values() if secret in shown]


def test_a_setting_that_cannot_be_used_names_its_variable_and_not_its_value() -> None:
    wrong = os.environ | {"WAN_FAL_DAILY_JOBS": "canary-not-a-number"}
    done = subprocess.run(
        [sys.executable, "-c", "from wan_core import settings; settings.load()"],
        env=wrong,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 1 and "WAN_FAL_DAILY_JOBS" in done.stderr and "canary" not in done.stderr
