"""The copied code is the request: it is run here against a stand-in of fal's client, and read back."""

import json
import re
import shlex
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.test_recipe import OTHER
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.ui.controls import PICTURE_IS_UPLOADED
from wan_core.ui.snippets import ADDRESS, snippets

TRICKY = "It's \"quoted\" $HOME `x` \\n ${y}\nsecond line, 中文 '"


def ran(code: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that the Python snippet sends."""
    sent: dict[str, Any] = {}

    def subscribe(endpoint: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert endpoint == IMAGE_TO_VIDEO.id
        sent.update(arguments)
        return {"video": {"url": "https://example.com/a.mp4"}}

    client = SimpleNamespace(subscribe=subscribe, upload_file=lambda path: f"https://fal.media/{path}")
    monkeypatch.setitem(sys.modules, "fal_client", client)  # type: ignore[arg-type]
    exec(compile(code, "snippet", "exec"), {})
    return sent


@pytest.mark.parametrize("values", [{"prompt": TRICKY}, OTHER])
def test_the_python_code_sends_every_field(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    request = IMAGE_TO_VIDEO.parse({"image_url": "https://example.com/a.png"} | values)
    assert ran(snippets(request).python, monkeypatch) == request.model_dump(exclude_none=True)


@pytest.mark.parametrize("values", [{"prompt": TRICKY}, OTHER])
def test_the_curl_line_sends_every_field(values: dict[str, Any]) -> None:
    request = IMAGE_TO_VIDEO.parse({"image_url": "https://example.com/a.png"} | values)
    words = shlex.split(snippets(request).curl.replace("\\\n", " "))
    assert words[:3] == ["curl", "--request", "POST"]
    assert json.loads(words[words.index("--data") + 1]) == request.model_dump(exclude_none=True)


@pytest.mark.parametrize("values", [{"prompt": TRICKY}, OTHER])
def test_the_javascript_holds_every_field_as_json(values: dict[str, Any]) -> None:
    request = IMAGE_TO_VIDEO.parse({"image_url": "https://example.com/a.png"} | values)
    lines = re.findall(r"^    (\w+): (.*),$", snippets(request).javascript, re.MULTILINE)
    assert {name: json.loads(value) for name, value in lines} == request.model_dump(exclude_none=True)


def test_an_uploaded_picture_is_uploaded_to_fal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    code = snippets(IMAGE_TO_VIDEO.parse({"image_url": PICTURE_IS_UPLOADED, "prompt": "a walk"}))
    assert ran(code.python, monkeypatch)["image_url"] == "https://fal.media/picture.jpg"
    assert "await fal.storage.upload(picture)" in code.javascript
    assert ADDRESS in code.curl
