"""The form follows the engine and the place that will run it."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched, choose, ready, set_number, unfold

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]


def number(page: Page, field: str) -> str:
    return page.locator(f"#{field} input[data-testid=number-input]").input_value()


def test_going_to_fal_sets_the_full_models_settings_says_so_and_undoes_them(guest: Watched) -> None:
    page = guest.open()
    ready(page)
    unfold(page, "sampling")
    set_number(page, "shift", 6)
    unfold(page, "where-it-runs")
    choose(page, "where", "fal")
    note = page.locator("#retuned")
    expect(note).to_contain_text("8 → 27")
    expect(note).to_contain_text("Left as you set it: Shift")
    assert (number(page, "num_inference_steps"), number(page, "guidance_scale")) == ("27", "3.5")
    assert number(page, "shift") == "6"
    expect(page.locator("#notice")).to_contain_text("runs on fal")
    expect(page.locator("button[data-chip='Crane up']")).to_be_visible()
    expect(page.locator("#preset-description")).to_contain_text("Miniature, changed:")
    note.get_by_text("Undo").click()
    expect(note).to_be_empty()
    assert number(page, "num_inference_steps") == "8"


def test_a_preset_stops_looking_pressed_once_a_value_differs(guest: Watched) -> None:
    page = guest.open()
    ready(page)
    page.click("button[data-preset=draft]")
    expect(page.locator("button[data-preset=draft]")).to_have_attribute("aria-pressed", "true")
    unfold(page, "sampling")
    set_number(page, "num_inference_steps", 9)
    expect(page.locator("button[data-preset=draft]")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#preset-description")).to_contain_text("Draft, changed: Number of inference steps")
    set_number(page, "num_inference_steps", 8)
    expect(page.locator("button[data-preset=draft]")).to_have_attribute("aria-pressed", "true")
