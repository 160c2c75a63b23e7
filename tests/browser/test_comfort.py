"""What a visitor's hands meet: targets, keys, ways out of a refusal, copies that say what is not in them."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Watched, filled, ready, upload, visiting
from tests.support.scripted_page import ScriptedPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
TARGETS = """([ours, least]) => [...document.querySelectorAll(ours)]
  .filter(each => each.checkVisibility({visibilityProperty: true}))
  .map(each => [each.id || each.textContent.trim(), Math.round(each.getBoundingClientRect().height)])
  .filter(([, height]) => height > 0 && height < least)"""
OURS = "#generate, #chips button, #presets button, #address-toggle button, #copy-link, #copy-embed, #saved label"


def small_targets(page: Page, least: int) -> list[Any]:
    """Of our own buttons: those of Gradio's picture box are its own."""
    found: list[Any] = page.evaluate(TARGETS, [OURS, least])
    return found


def test_targets_suit_a_mouse_and_a_finger(guest: Watched, browser: Browser) -> None:
    page = guest.open()
    ready(page)
    assert small_targets(page, 32) == []
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with visiting(browser, guest.home, **phone) as finger:
        page = finger.open()
        ready(page)
        assert page.evaluate("matchMedia('(pointer: coarse)').matches")
        assert small_targets(page, 40) == []


def test_arrow_keys_move_within_a_group_and_the_focus_is_seen(guest: Watched) -> None:
    page = guest.open("?resolution=480p")
    ready(page)
    page.locator("#resolution input").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#resolution input[value='580p']")).to_be_checked()
    outline = page.evaluate("getComputedStyle(document.activeElement.closest('label')).outlineStyle")
    assert outline == "solid"


def test_a_copied_link_says_that_an_uploaded_picture_is_not_in_it(guest: Watched, photo: Path) -> None:
    page = guest.open("?__theme=dark")
    ready(page)
    upload(page, photo)
    page.click("#copy-link")
    expect(page.locator("#to-copy")).to_contain_text("An uploaded picture is not in it")
    page.click("#copy-embed")
    expect(page.locator("#to-copy")).to_contain_text(f"take a plain address: {guest.home}/?embed=1&__theme=dark")
    code = page.evaluate("navigator.clipboard.readText()")
    assert "__theme=dark" in code and 'title="Wan 2.2 image to video"' in code


def test_a_failed_run_offers_less_and_runs_it_in_one_click(guest: Watched, scripted: ScriptedPage, photo: Path) -> None:
    page = guest.open("?preset=fal_defaults&num_frames=81&resolution=720p")
    ready(page)
    filled(page, photo, "It fails.")
    page.click("#generate")
    failed = page.locator("#status .failed")
    expect(failed.get_by_role("button", name="Retry with 49 frames")).to_be_visible()
    page.wait_for_timeout(1100)
    failed.get_by_role("button", name="Retry in 480p").click()
    expect(page.locator("#resolution input[value='480p']")).to_be_checked()
    for _ in range(200):
        if len(scripted.jobs) == 2:
            break
        page.wait_for_timeout(100)
    assert [record.job.inputs.resolution for record in scripted.jobs] == ["720p", "480p"]
    expect(page.locator("#status .failed").last).to_be_visible()


def test_a_comparison_on_a_phone_does_not_widen_the_page(guest: Watched, photo: Path) -> None:
    page = guest.open("robots.txt")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{guest.home}/?preset=draft&num_frames=17")
    ready(page)
    for number, prompt in enumerate(("One.", "Two, which is quite a bit longer than the first one was.")):
        filled(page, photo, prompt)
        page.wait_for_timeout(1100)
        page.click("#generate")
        expect(page.locator("#strip .card")).to_have_count(number + 1)
    for box in page.locator("#strip .card input[type=checkbox]").all():
        box.check()
    expect(page.locator(".wan-compare figcaption")).to_have_count(2)
    expect(page.locator(".wan-compare figcaption").last).to_contain_text("One.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
