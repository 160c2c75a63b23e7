"""What the browser kept of the form comes back as it was, and nothing that it made up gets further."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.jobs import MOST_FRAMES
from tests.ui.conftest import Desk
from wan_core.presets import presets
from wan_core.ui import kept_form
from wan_core.ui.controls import draft_of
from wan_core.ui.tuning import Tuned


def kept(desk: Desk, **changed: Any) -> str:
    given = desk.left.form.read(desk.values(**changed))
    return kept_form.to_text(draft_of(given), given, Tuned("miniature", "miniature"))


def opened(form: str, uploads: Path, **page: Any) -> kept_form.KeptForm:
    return kept_form.from_text(json.dumps({"query": "?preset=draft", "form": form, "first": True} | page), uploads)


def test_the_form_comes_back_with_its_picture_and_a_random_seed(desk: Desk, uploads: Path) -> None:
    form = opened(kept(desk, prompt="unsent", num_frames=49, where="fal", prompt_in_file=False), uploads)
    assert form.values and form.is_reload and form.preset == "miniature" and form.query == "?preset=draft"
    assert (form.values["prompt"], form.values["num_frames"], form.values["seed"]) == ("unsent", 49, None)
    assert (form.values["where"], form.values["prompt_in_file"]) == ("fal", False)
    assert form.values["picture"] == str(desk.picture())


def test_an_empty_prompt_stays_empty(desk: Desk, uploads: Path) -> None:
    form = opened(kept(desk, prompt=""), uploads)
    assert form.values and form.values["prompt"] == ""


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "a\0b", "x" * 5000, 7, None])
def test_a_path_that_is_no_upload_is_no_picture(desk: Desk, uploads: Path, path: object) -> None:
    form = json.loads(kept(desk))
    form["page"]["picture"] = path
    read = opened(json.dumps(form), uploads)
    assert read.values and read.values["picture"] is None


@pytest.mark.parametrize("text", [None, 7, "", "x", "[]", '{"form": "{}"}', '{"form": 3, "query": 4}', "[" * 90_000])
def test_nonsense_is_no_form(text: object, uploads: Path) -> None:
    assert kept_form.from_text(text, uploads).values is None


def test_values_out_of_bounds_and_unknown_words_do_not_come_through(desk: Desk, uploads: Path) -> None:
    form = json.loads(kept(desk))
    settings = json.loads(form["settings"])
    settings["request"] |= {"num_frames": 9999, "resolution": "8k"}
    form |= {"settings": json.dumps(settings), "preset": "nothing"}
    form["page"] |= {"where": "mars", "prompt_in_file": "yes"}
    read = opened(json.dumps(form), uploads)
    assert read.values and read.preset is None and read.values["num_frames"] == MOST_FRAMES
    assert not {"resolution", "where", "prompt_in_file"} & set(read.values)


def test_a_reload_brings_the_form_back_and_a_link_goes_before_what_was_kept_earlier(desk: Desk, caller: Any) -> None:
    form = kept(desk, prompt="unsent", num_frames=49)
    page = {"query": "?preset=draft", "form": form}
    frames = desk.left.form["num_frames"]
    for first, expected in ((True, 49), (False, presets()["draft"].complete["num_frames"])):
        shown = desk.form_events.address(caller, {}, json.dumps(page | {"first": first}))
        assert shown[frames] == expected
    assert desk.form_events.address(caller, {}, json.dumps(page | {"query": ""}))[frames] == 49
