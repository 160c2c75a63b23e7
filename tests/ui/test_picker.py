"""The row of presets, chips and examples: what can be clicked, and what cannot is explained."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.support.mp4 import comment_in
from wan_core import encoding, geometry, recipe
from wan_core.presets import presets
from wan_core.profiles import GIB, Machine, profiles
from wan_core.ui import chips, example_clips, examples
from wan_core.ui.picker import chosen_preset, picker

NO_CARD, CARD = Machine(), Machine("NVIDIA H200", 140 * GIB)
MINIATURE = profiles()["miniature"]


def event(**data: str) -> Any:
    return SimpleNamespace(**data)


def buttons(html: str) -> dict[str, str]:
    return {match[1]: match[0] for match in re.finditer(r'<button[^>]*data-preset="(\w+)"[^>]*>', html)}


def test_presets_that_cannot_run_collapse_into_one_line_with_the_reasons() -> None:
    html = picker("miniature", MINIATURE, NO_CARD)
    assert set(presets()) - set(buttons(html)) == {"turbo", "turbo_motion", "wan_official"}
    assert re.findall("<summary>(.*?)</summary>", html) == [
        "Not on this machine: Turbo, Turbo motion and Wan&#x27;s own settings"
    ]
    assert html.count("this machine has no CUDA card") == 3


def test_a_preset_is_no_longer_pressed_once_a_value_differs() -> None:
    html = picker("draft", MINIATURE, NO_CARD, ["Steps"])
    assert 'aria-pressed="true"' not in html and "Draft, changed: Steps." in html


def test_on_a_card_every_preset_can_be_chosen() -> None:
    html = picker(None, profiles()["a14b"], CARD)
    assert set(buttons(html)) == set(presets())


def test_the_chosen_preset_is_pressed_and_described() -> None:
    html = picker("draft", MINIATURE, NO_CARD)
    assert [name for name, button in buttons(html).items() if 'aria-pressed="true"' in button] == ["draft"]
    assert presets()["draft"].description in html


@pytest.mark.parametrize("said", [{}, {"preset": "turbo"}, {"preset": "nothing"}, {"preset": "__class__"}])
def test_a_click_on_what_cannot_run_or_is_not_there_chooses_nothing(said: dict[str, str]) -> None:
    assert chosen_preset(event(**said), MINIATURE, NO_CARD) is None


def test_a_chip_adds_its_sentence_and_an_unknown_one_nothing() -> None:
    chip = chips.chosen_chip(event(chip="Pan left"))
    assert chip is not None and chip.sentence == "The camera pans left."
    assert chips.chosen_chip(event(chip="<b>")) is None and chips.chosen_chip(event()) is None


def test_the_examples_are_files_of_ours_and_one_address() -> None:
    assert all(example.path and example.path.is_file() for example in examples.EXAMPLES[:3])
    assert examples.EXAMPLES[3].path is None and examples.EXAMPLES[3].image_url.startswith("https://")
    assert all(example.preset in presets() for example in examples.EXAMPLES)
    assert "https://" not in examples.gallery(), "nothing is fetched to show them"


@pytest.mark.parametrize("said", [{}, {"example": "9"}, {"example": "-1"}, {"example": "x"}])
def test_a_click_on_no_example_chooses_none(said: dict[str, str]) -> None:
    assert examples.chosen_example(event(**said)) is None


def test_each_example_of_ours_has_a_clip_that_is_served_under_its_name_and_nothing_else_is() -> None:
    client = TestClient(Starlette(routes=example_clips.ROUTES))
    for example in examples.EXAMPLES[:3]:
        assert example.clip is not None
        answer = client.get(f"/examples/{example.clip.name}", headers={"Range": "bytes=0-99"})
        assert (answer.status_code, answer.headers["content-type"], len(answer.content)) == (206, "video/mp4", 100)
        assert f'src="examples/{example.clip.name}"' in examples.gallery()
    for name in ("lighthouse.jpg", "..%2Fmake_clips.py", "nothing.mp4"):
        assert client.get(f"/examples/{name}").status_code == 404


def test_the_examples_clips_are_what_the_miniatures_preset_makes_of_their_pictures() -> None:
    preset = presets()[examples.CLIP_PRESET]
    for example in examples.EXAMPLES[:3]:
        assert example.clip is not None and example.path is not None
        kept = recipe.from_comment(comment_in(example.clip))
        assert kept.engine == preset.engine and kept.values["prompt"] == example.prompt
        same = ("num_frames", "num_inference_steps", "guidance_scale", "guidance_scale_2", "shift", "resolution")
        assert {name: kept.values[name] for name in same} == {name: preset.complete[name] for name in same}
        with Image.open(example.path) as picture:
            size = geometry.frame_size("480p", "auto", geometry.Size(*picture.size))
        assert encoding.probe(example.clip).size == size
