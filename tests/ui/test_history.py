"""What the page tells a browser of the clips and grids whose ids it keeps."""

import json
from html import unescape
from types import SimpleNamespace
from typing import Any

import gradio as gr

from tests.ui.conftest import Desk
from tests.ui.test_form_events import a_clip
from wan_core.jobs.sweeps import SweepService
from wan_core.ui.history import History

UNKNOWN = "8b0f1b5e-0000-4000-8000-000000000000"


def facts(desk: Desk, items: object) -> list[dict[str, Any]]:
    history = History(desk.house.jobs, SweepService(desk.house.jobs, desk.house.jobs.files))
    event: Any = SimpleNamespace(items=items)
    text = history.facts(event).split('data-facts="')[1].split('"')[0]
    found: list[dict[str, Any]] = json.loads(unescape(text))
    return found


def test_each_clip_says_what_differs_from_the_one_before_it(desk: Desk, caller: gr.Request) -> None:
    first = a_clip(desk, caller, seed="1").clip
    second = a_clip(desk, caller, seed="2", num_frames=33).clip
    newest, oldest = facts(desk, [{"id": second, "kind": "clip"}, {"id": first, "kind": "clip"}])
    assert newest["label"] == "Number of frames: 33 · Seed: 2"
    assert oldest["label"] == "a walk" and oldest["prompt"] == "a walk"
    assert newest["settings"]["Number of frames"] == "33" and "Number of frames" in newest["changed"]
    assert (newest["src"], newest["fps"]) == (f"files/{second}.mp4", 16)


def test_what_is_no_longer_kept_and_what_never_was_says_so(desk: Desk) -> None:
    asked = [{"id": UNKNOWN, "kind": "clip"}, {"id": UNKNOWN, "kind": "sweep"}, {"id": "../x", "kind": "clip"}]
    assert [fact["expired"] for fact in facts(desk, asked)] == [True, True, True]


def test_nonsense_from_a_browser_is_an_empty_list(desk: Desk) -> None:
    for items in (None, 7, "x", {}, [None, 3], [["id"]]):
        assert facts(desk, items) == []
