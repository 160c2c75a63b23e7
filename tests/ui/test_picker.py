"""The row of presets, chips and examples: what can be clicked, and what cannot is explained."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from wan_core.presets import presets
from wan_core.profiles import GIB, Machine, profiles
from wan_core.ui import chips, examples
from wan_core.ui.picker import chosen_preset, picker

NO_CARD, CARD = Machine(), Machine("NVIDIA H200", 140 * GIB)
MINIATURE = profiles()["miniature"]


def event(**data: str) -> Any:
    return SimpleNamespace(**data)


def buttons(html: str) -> dict[str, str]:
    return {match[1]: match[0] for match in re.finditer(r'<button[^>]*data-preset="(\w+)"[^>]*>', html)}


def test_presets_that_cannot_run_collapse_into_one_line_with_the_reasons() -> None:
    html = picker("miniature", MINIATURE, NO_CARD)
    assert set(presets()) - set(buttons(html)) == {"turbo", "wan_official"}
    assert re.findall("<summary>(.*?)</summary>", html) == ["Not on this machine: Turbo and Wan&#x27;s own settings"]
    assert html.count("this machine has no CUDA card") == 2


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
