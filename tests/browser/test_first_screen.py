"""What the page shows at once: no scrolling for the main job, and nothing that axe rejects."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched, filled, ready, unfold

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
AXE = Path(__file__).parents[1] / "clients" / "node_modules" / "axe-core" / "axe.min.js"
VIOLATIONS = """axe.run().then(found => found.violations
  .filter(each => ['serious', 'critical'].includes(each.impact))
  .map(each => `${each.id}: ${each.nodes.slice(0, 3).map(node => node.html.slice(0, 120)).join(' ')}`))"""


def opened(guest: Watched, query: str = "", width: int = 1280, height: int = 900) -> Page:
    page = guest.open("robots.txt")
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"{guest.home}/{query}")
    ready(page)
    return page


def lowest(page: Page, *selectors: str) -> float:
    boxes = [page.locator(selector).first.bounding_box() for selector in selectors]
    return max(box["y"] + box["height"] for box in boxes if box)


def test_the_main_job_needs_no_scrolling_on_a_laptop(guest: Watched, photo: Path) -> None:
    page = opened(guest, width=1366, height=768)
    assert lowest(page, "#picture", "#prompt", "#chips", "#generate", "#outcome .outcome", "#player") <= 768
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_timeout(300)
    assert lowest(page, "#examples") <= 900
    filled(page, photo, "It waits.")
    expect(page.locator("#picture-check img")).to_be_visible()
    page.set_viewport_size({"width": 1366, "height": 768})
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(300)
    assert lowest(page, "#picture", "#picture-check", "#prompt", "#chips", "#generate", "#outcome .outcome") <= 768
    chips = page.locator("#chips button")
    assert all((chip.bounding_box() or {"x": 1e9})["x"] < 640 for chip in chips.all()), "none lies off the screen"


def check(page: Page) -> list[Any]:
    if not AXE.is_file():
        pytest.skip("npm ci --prefix tests/clients")
    page.wait_for_timeout(600)
    page.add_script_tag(path=AXE)
    found: list[Any] = page.evaluate(VIOLATIONS)
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious_in_any_state(guest: Watched, photo: Path, width: int, theme: str) -> None:
    page = opened(guest, f"?__theme={theme}", width, 844)
    found = {"empty": check(page)}
    page.click("#generate")
    expect(page.locator("#faults .fault")).to_have_count(2)
    found["faults"] = check(page)
    filled(page, photo, "It waits.")
    found["filled"] = check(page)
    for section in ("sampling", "frames", "encoding", "checks", "where-it-runs", "fal-request"):
        unfold(page, section)
    found["everything open"] = check(page)
    page.click("#generate")
    expect(page.locator("#status .running")).to_be_visible()
    found["running"] = check(page)
    page.click("#cancel")
    expect(page.locator("#status .over")).to_be_visible()
    found["cancelled"] = check(page)
    page.locator("#prompt textarea").fill("It fails.")
    page.click("#generate")
    expect(page.locator("#status .failed")).to_be_visible()
    found["failed"] = check(page)
    page.locator("#prompt textarea").fill("The camera pans left.")
    page.wait_for_timeout(1100)
    page.click("#generate")
    expect(page.locator("#player video")).to_be_visible()
    found["a clip"] = check(page)
    page.get_by_role("tab", name="Explore").click()
    found["explore"] = check(page)
    assert {state: faults for state, faults in found.items() if faults} == {}
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_ctrl_enter_generates(guest: Watched, photo: Path) -> None:
    page = opened(guest)
    filled(page, photo)
    page.locator("#prompt textarea").press("Control+Enter")
    expect(page.locator("#player video")).to_be_visible()
