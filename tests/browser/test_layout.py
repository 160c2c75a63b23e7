"""Nothing moves while the page opens, and a phone shows things in the order in which they matter."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched, filled, ready

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
GOOD = 0.1  # https://web.dev/articles/cls
TRIES = 3  # parts that come late on a busy machine may move others
COUNT_SHIFTS = """window.shift = 0;
new PerformanceObserver(list => list.getEntries().filter(entry => !entry.hadRecentInput)
  .forEach(entry => { window.shift += entry.value; })).observe({type: 'layout-shift', buffered: true});"""


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_nothing_moves_while_the_page_opens(guest: Watched, width: int, height: int) -> None:
    page = guest.open("robots.txt")
    page.set_viewport_size({"width": width, "height": height})
    page.add_init_script(COUNT_SHIFTS)
    shifts = []
    while len(shifts) < TRIES and min(shifts, default=1.0) >= GOOD:
        page.goto(f"{guest.home}/")
        ready(page)
        page.wait_for_timeout(2000)
        shifts.append(page.evaluate("shift"))
    assert min(shifts) < GOOD, shifts


def top(page: Page, selector: str) -> float:
    box = page.locator(selector).first.bounding_box()
    assert box is not None, selector
    return box["y"]


def test_a_phone_begins_with_the_form_and_once_there_is_a_clip_with_it_and_the_clips_before(
    guest: Watched, photo: Path
) -> None:
    page = guest.open("robots.txt")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{guest.home}/?preset=draft&num_frames=17")
    ready(page)
    assert top(page, "#picture") < top(page, "#prompt") < top(page, "#outcome") < top(page, "#views [role=tab]")
    assert top(page, "#views [role=tab]") < top(page, "#examples") < top(page, "#fal-request")
    filled(page, photo)
    page.click("#generate")
    expect(page.locator("#player video")).to_be_visible()
    expect(page.locator("#strip .card")).to_have_count(1)
    assert top(page, "#player") < top(page, "#strip") < top(page, "#picture")
    expect(page.locator("#facts-list")).to_be_hidden()
    page.locator("#facts summary").first.click()
    expect(page.locator("#facts-list")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.reload()
    guest.forgive("AbortError", "Connection errored out", "net::ERR")
    ready(page)
    expect(page.locator("#facts-list")).to_be_visible()
