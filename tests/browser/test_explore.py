"""The Explore tab in a real browser: axes, a grid that comes into sight, cancelled cells that run again."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import RUN_MS, Watched, filled, ready, unfold

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
DONE = "#explore-grid .cell[data-state=done]"


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Explore").click()
    expect(page.locator("#explore-make")).to_be_visible()


def choose_knob(page: Page, axis: int, title: str) -> None:
    page.locator(f"#axis-knob-{axis} input").click()
    page.get_by_role("option", name=title, exact=True).click()


def test_a_vary_button_puts_its_setting_on_an_axis_and_a_fault_stands_at_it(guest: Watched) -> None:
    page = guest.open()
    ready(page)
    unfold(page, "sampling")
    page.locator("#shift button.vary").click()
    expect(page.locator("#explore-axes")).to_be_visible()
    box = page.locator("#axis-values-2 :is(input, textarea)").first
    expect(box).to_have_value("2, 5, 8")
    box.fill("2, 50")
    expect(page.locator("#axis-chips-2")).to_contain_text("shift must be a number from 1 to 10; you sent '50'")
    box.fill("2, 5")
    page.locator("#axis-chips-2 button", has_text="5").click()
    expect(box).to_have_value("2, SKIP: 5")


def test_a_new_grid_comes_into_sight_and_cancelled_cells_run_again(guest: Watched, photo: Path) -> None:
    page = guest.open()
    ready(page)
    filled(page, photo, "It takes 3 s.")
    open_tab(page)
    choose_knob(page, 0, "Shift")
    page.locator("#axis-knob-1 input").click()
    page.get_by_role("option", name="—", exact=True).click()
    expect(page.locator("#explore-line")).to_contain_text("3 clips")
    page.click("#explore-make")
    expect(page.locator("#explore-grid .cell").last).to_be_in_viewport()
    expect(page.locator("#explore-cancel")).to_be_in_viewport()
    page.click("#explore-cancel")
    expect(page.locator("#explore-retry")).to_be_visible()
    expect(page.locator("#explore-grid .cell[data-state=failed]").first).to_contain_text("Cancelled.")
    page.click("#explore-retry")
    expect(page.locator(DONE)).to_have_count(3, timeout=RUN_MS)
    expect(page.locator("#explore-retry")).to_be_hidden()
