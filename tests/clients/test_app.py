"""The app itself, started as a newcomer starts it: fal's client gets a clip from the engine of this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fal_client.client
import httpx
import pytest
from PIL import Image

from tests.support.app import running_app
from wan_core.endpoints import IMAGE_TO_VIDEO, IMAGE_TO_VIDEO_TURBO

pytestmark = [
    pytest.mark.client,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # fal's client leaves sockets open
]

SMALL = {"num_frames": 17, "num_inference_steps": 2, "resolution": "480p", "aspect_ratio": "1:1", "seed": 7}
QUICK = {"interpolator_model": "none", "video_write_mode": "fast"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `python app.py`."""
    with running_app(tmp_path_factory.mktemp("data")) as running:
        yield running.home


@pytest.fixture
def client(app: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, place in {"RUN_URL_FORMAT": "/run/", "QUEUE_URL_FORMAT": "/queue/"}.items():
        monkeypatch.setattr(fal_client.client, name, app + place)
    for name, place in {"REST_URL": "/rest", "CDN_URL": "/cdn"}.items():
        monkeypatch.setattr(fal_client.client, name, app + place)
    own = fal_client.client.SyncClient(key="id:secret")
    yield own
    own._client.close()


def test_a_picture_is_uploaded_and_comes_back_as_a_clip(app: str, client: Any, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    Image.linear_gradient("L").convert("RGB").resize((256, 256)).save(picture)
    url = client.upload_file(picture)
    updates: list[Any] = []
    request = SMALL | QUICK | {"image_url": url, "prompt": "a slow push in"}
    result = client.subscribe(IMAGE_TO_VIDEO.id, arguments=request, with_logs=True, on_queue_update=updates.append)
    assert result["seed"] == 7 and result["prompt"] == "a slow push in"
    clip = httpx.get(result["video"]["url"], timeout=30)
    assert clip.content[4:8] == b"ftyp" and len(clip.content) == result["video"]["file_size"]
    assert any(update.logs for update in updates if isinstance(update, fal_client.client.InProgress))


def test_the_turbo_endpoint_takes_an_end_picture_and_says_what_this_machine_makes_of_both(
    client: Any, tmp_path: Path
) -> None:
    pictures = []
    for name, turn in (("first.png", 0), ("last.png", 180)):
        Image.linear_gradient("L").convert("RGB").resize((256, 256)).rotate(turn).save(tmp_path / name)
        pictures.append(client.upload_file(tmp_path / name))
    asked = {"image_url": pictures[0], "end_image_url": pictures[1], "prompt": "a slow push in", "resolution": "480p"}
    result = client.subscribe(IMAGE_TO_VIDEO_TURBO.id, arguments=asked | {"aspect_ratio": "1:1", "loras": []})
    assert (result["video"]["num_frames"], result["video"]["fps"]) == (81, 16)
    said = " ".join(result["notes"])
    assert "Made by the miniature" in said and "ignores the end picture" in said and "loras" in said


def test_a_picture_nobody_can_fetch_is_refused_at_its_field(client: Any) -> None:
    with pytest.raises(fal_client.client.FalClientHTTPError) as refusal:
        client.run(IMAGE_TO_VIDEO.id, arguments=SMALL | {"image_url": "http://127.0.0.1:1/a.png", "prompt": "a walk"})
    assert refusal.value.status_code == 422
    assert refusal.value.message[0]["loc"] == ["body", "image_url"]
    assert refusal.value.message[0]["type"] == "file_download_error"


def test_the_app_relays_no_files_and_answers_foreign_pages_nothing(app: str) -> None:
    assert httpx.get(f"{app}/gradio_api/file={app}/config").status_code == 403
    origin = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in httpx.options(f"{app}/run/{IMAGE_TO_VIDEO.id}", headers=origin).headers
