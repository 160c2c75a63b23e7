"""What cannot be used is listed at the button; the first one's section opens, and its field has the focus."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched, filled, ready

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]


def focused_field(page: Page, field: str) -> None:
    page.wait_for_function("field => document.activeElement?.closest('#' + field) !== null", arg=field)


def is_on_top(page: Page, selector: str) -> bool:
    """Whether a person sees the middle of it: nothing else lies over it, and it is on the screen."""
    return bool(
        page.evaluate(
            """selector => { const e = document.querySelector(selector), r = e.getBoundingClientRect();
            const top = document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
            return !!top && (e.contains(top) || top.contains(e)) }""",
            selector,
        )
    )


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1366, 657)])
def test_generate_on_the_empty_page_names_picture_and_prompt_readably(guest: Watched, width: int, height: int) -> None:
    page = guest.open()
    page.set_viewport_size({"width": width, "height": height})
    ready(page)
    page.click("#generate")
    expect(page.locator("#faults .fault")).to_have_count(2)
    expect(page.locator("[data-of=picture]")).to_contain_text("Add a picture first")
    expect(page.locator("[data-of=prompt]")).to_contain_text("prompt is empty")
    page.wait_for_timeout(800)  # scrolling smoothly
    focused_field(page, "picture")
    assert is_on_top(page, "[data-of=picture]")
    page.locator("#faults .fault").last.scroll_into_view_if_needed()
    assert is_on_top(page, "#faults .fault:last-child a")


def test_a_fault_in_a_closed_section_opens_it_and_has_the_focus(guest: Watched, photo: Path) -> None:
    page = guest.open("?seed=7")
    ready(page)
    filled(page, photo)
    page.locator("#sampling > button").click()
    page.locator("#seed input, #seed textarea").fill("1.5")
    page.locator("#sampling > button").click()
    page.wait_for_timeout(500)
    page.locator("#generate").press("Enter")
    expect(page.locator("#faults")).to_contain_text("seed must be a whole number")
    expect(page.locator("#seed .at-field")).to_be_visible()
    focused_field(page, "seed")
