"""fal's own clients, unchanged, against this server: the documented examples word for word, then every call they have.

Only the target is changed, and only from outside: environment, preload, .curlrc; over http and over TLS.
"""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.clients.conftest import EXAMPLES, HERE, tool, twin_process
from tests.support.jobs import MOST_FRAMES
from tests.support.tls import terminated, tunnel
from wan_core import schema
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.files import FileStore

pytestmark = [pytest.mark.client, pytest.mark.timeout(180)]

REPOINTING = HERE / "repointing"
PYTHON_LOGS = ["Sampling.", "sampling: 1 of 3", "sampling: 2 of 3", "sampling: 3 of 3"]


@dataclass(frozen=True)
class Place:
    """A twin as clients reach it: plain, behind TLS, and through a proxy that takes fal's names for it."""

    home: str
    secure: str
    ca: Path
    proxy: str
    data: Path

    @property
    def secure_host(self) -> str:
        return self.secure.removeprefix("https://")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    with twin_process(folder / "data", "--step", "0.1") as (home, _), terminated(home, folder) as (secure, ca):
        with tunnel(int(secure.rpartition(":")[2])) as proxy:
            yield Place(home, secure, ca, proxy, folder / "data")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portrait, unlike the picture that every web address gives here."""
    path = tmp_path_factory.mktemp("picture") / "portrait.png"
    Image.linear_gradient("L").convert("RGB").resize((180, 320)).save(path)
    return path


def ran(command: list[str], **environment: str) -> str:
    """What `command` wrote; its failure is the test's."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        command, env=clean | {"FAL_KEY": "id:secret"} | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def node(place: Place, preload: str, script: Path, *arguments: str, home: str) -> str:
    if not (HERE / "node_modules" / "@fal-ai" / "client").is_dir():
        missing = "run `npm ci` in tests/clients"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    command = [tool("node"), "--import", str(REPOINTING / preload), str(script), *arguments]
    return ran(command, FAL_SELF_HOSTED=home, NODE_EXTRA_CA_CERTS=str(place.ca))


def python(script: Path, *arguments: str, **environment: str) -> str:
    return ran([sys.executable, "-W", "ignore", str(script), *arguments], **environment)


def curl(place: Place, text: str, folder: Path) -> Any:
    tool("curl")
    port = place.secure.rpartition(":")[2]
    settings = f'silent\nshow-error\nconnect-to = "fal.run:443:127.0.0.1:{port}"\ncacert = "{place.ca}"\n'
    (folder / ".curlrc").write_text(settings)
    return json.loads(ran(["bash", "-c", text], CURL_HOME=str(folder)))


def example(name: str) -> str:
    return (EXAMPLES / name).read_text("utf-8")


def test_the_examples_are_those_of_the_endpoint() -> None:
    for name in ("example.sh", "example.py", "example.mjs"):
        assert IMAGE_TO_VIDEO.id in example(name) and schema.EXAMPLE_PROMPT in example(name)


def check_output(output: Any) -> None:
    assert output["prompt"] == schema.EXAMPLE_PROMPT and output["video"]["url"].endswith(".mp4")
    assert 0 <= output["seed"] <= schema.MAX_SEED


def test_the_curl_example_runs_as_written_over_tls(place: Place, tmp_path: Path) -> None:
    output = curl(place, example("example.sh"), tmp_path)
    check_output(output)
    assert output["video"]["url"].startswith("https://fal.run/files/")


def test_the_curl_example_runs_over_http_with_its_address_swapped(place: Place, tmp_path: Path) -> None:
    check_output(curl(place, example("example.sh").replace("https://fal.run", f"{place.home}/run"), tmp_path))


def check_printed(text: str) -> None:
    *lines, last = text.strip().splitlines()
    assert lines and set(PYTHON_LOGS) >= set(lines)
    assert "'seed'" in last or "seed" in text


def test_the_python_example_runs_as_written_over_tls(place: Place) -> None:
    """The two variables that point existing code at a server of one's own."""
    hosts = {"FAL_RUN_HOST": f"{place.secure_host}/run", "FAL_QUEUE_RUN_HOST": f"{place.secure_host}/queue"}
    check_printed(python(EXAMPLES / "example.py", SSL_CERT_FILE=str(place.ca), **hosts))


def test_the_python_example_runs_as_written_under_fals_own_names(place: Place) -> None:
    check_printed(python(EXAMPLES / "example.py", SSL_CERT_FILE=str(place.ca), HTTPS_PROXY=place.proxy))


def test_the_python_example_runs_as_written_over_http(place: Place) -> None:
    check_printed(python(EXAMPLES / "example.py", PYTHONPATH=str(REPOINTING), FAL_SELF_HOSTED=place.home))


@pytest.mark.parametrize("preload", ["proxy.mjs", "fetch.mjs"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_the_javascript_example_runs_as_written(place: Place, preload: str, tls: bool) -> None:
    text = node(place, preload, EXAMPLES / "example.mjs", home=place.secure if tls else place.home)
    assert "Sampling." in text and "seed:" in text and schema.EXAMPLE_PROMPT[:40] in text
    assert len(text.strip().splitlines()[-1]) == 36, "the request id"


def kept_picture(place: Place, output: Any) -> tuple[int, int]:
    """The size of the picture that a finished request was made from."""
    job_id = output["video"]["file_name"].removesuffix(".mp4")
    files = FileStore(place.data)
    with closing(sqlite3.connect(files.database)) as jobs:
        (job,) = jobs.execute("SELECT job FROM jobs WHERE id = ?", (job_id,)).fetchone()
    with Image.open(files.picture(json.loads(job)["files"]["image_url"])) as kept:
        return kept.size


def check_calls(place: Place, report: Any) -> None:
    assert report["seen"][-1] == "Completed" and "InProgress" in report["seen"]
    assert report["result"]["seed"] == report["run"] == 7 and report["same result"]
    assert kept_picture(place, report["result"]) == (320, 180), "from the album, by its web address"
    assert report["logs"] == PYTHON_LOGS and report["metrics"]["inference_time"] > 0
    assert (report["cancelled"]["status"], report["cancelled"]["type"]) == (499, "client_cancelled")
    assert report["faulty"]["status"] == 422 and report["faulty"]["message"][0]["loc"] == ["body", "num_frames"]
    assert kept_picture(place, report["from upload"]) == (180, 320), "the upload itself"


@pytest.mark.parametrize("way", ["http", "tls"])
def test_every_call_of_the_python_client(place: Place, picture: Path, way: str) -> None:
    plain = {"PYTHONPATH": str(REPOINTING), "FAL_SELF_HOSTED": place.home}
    secure = {"SSL_CERT_FILE": str(place.ca), "HTTPS_PROXY": place.proxy}
    script = HERE / "scripts" / "every_call.py"
    report = json.loads(python(script, str(picture), **(secure if way == "tls" else plain)))
    check_calls(place, report["sync"])
    check_calls(place, report["async"])
    assert report["sync"]["too large"]["status"] == 413
    assert report["sync"]["clip"] == 200 and report["sync"]["upload"]
    assert kept_picture(place, report["sync"]["from data uri"]) == (180, 320)


@pytest.mark.parametrize("preload", ["proxy.mjs", "fetch.mjs"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_every_call_of_the_javascript_client(place: Place, picture: Path, preload: str, tls: bool) -> None:
    home = place.secure if tls else place.home
    report = json.loads(node(place, preload, HERE / "scripts" / "every_call.mjs", str(picture), home=home))
    assert report["seen"][-1] == "COMPLETED" and report["metrics"]["inference_time"] > 0
    assert report["logs"] == report["streamed"] == report["subscribed"]["lines"] == PYTHON_LOGS
    assert report["result"]["seed"] == report["subscribed"]["seed"] == report["run"]["seed"] == 7
    assert report["requestId"] and report["run"]["requestId"] == 36
    assert report["cancelled"] == {"error": "client_cancelled", "status": 499}
    assert report["faulty"]["status"] == 422 and f"from 17 to {MOST_FRAMES}" in report["faulty"]["message"]
    assert report["faulty"]["fields"][0]["loc"] == ["body", "num_frames"]
    assert report["upload"] and report["tooLarge"] == 413
    assert kept_picture(place, report["fromUpload"]) == kept_picture(place, report["fromBlob"]) == (180, 320)
