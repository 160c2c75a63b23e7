"""Links where there is no clipboard, links with long prompts, and visits that begin with a link, in a real browser."""

import random
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched, generate, ready, unfold, until, upload

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
NO_CLIPBOARD = "Object.defineProperty(Navigator.prototype, 'clipboard', {get: () => undefined})"
LONG = "A camel walks through the desert while the wind blows. " * 60
CHINESE = "".join(random.Random(0).choices([chr(code) for code in range(0x4E00, 0x9FA0)], k=4_000))


def write_prompt(page: Page, text: str) -> None:
    """Fill the prompt, and wait until the page's link and code follow it."""
    unfold(page, "fal-request")
    page.locator("#prompt textarea").fill(text)
    expect(page.locator("#snippet-python")).to_contain_text(text[:30])
    page.wait_for_timeout(500)


def test_without_a_clipboard_the_text_lies_selected_in_a_field(watched: Watched) -> None:
    """As on http:// in a local network."""
    watched.context.add_init_script(NO_CLIPBOARD)
    page = watched.open()
    ready(page)
    for button, start in (("#copy-link", f"{watched.home}/?preset="), ("#copy-embed", f'<iframe src="{watched.home}/')):
        page.click(button)
        field = page.locator("#to-copy textarea")
        expect(field).to_have_value(re.compile("^" + re.escape(start)))
        until(page, "getSelection().toString()", field.input_value())


def test_a_long_prompt_is_linked_and_one_that_is_too_long_becomes_a_file(
    watched: Watched, page: Page, tmp_path: Path
) -> None:
    write_prompt(page, LONG)
    page.click("#copy-link")
    expect(page.locator("#copy-link")).to_have_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert len(link) < len(LONG)
    other = watched.open(f"?{urlsplit(link).query}")
    ready(other)
    expect(other.locator("#prompt textarea")).to_have_value(LONG)

    write_prompt(page, CHINESE)
    page.click("#copy-link")
    expect(page.locator("#copy-link")).to_have_text("Too long for a link")
    with page.expect_download() as download:
        page.click("#to-copy a")
    assert download.value.suggested_filename == "wan-settings.json"
    download.value.save_as(tmp_path / "wan-settings.json")
    other.locator("#saved input").set_input_files(tmp_path / "wan-settings.json")
    expect(other.locator("#prompt textarea")).to_have_value(CHINESE)


def test_a_visit_that_begins_with_a_link_keeps_what_was_sent_over_reload_and_back(
    watched: Watched, photo: Path
) -> None:
    page = watched.open("?embed=0&preset=draft&num_frames=17&num_inference_steps=2&prompt=hello&__theme=light")
    ready(page)
    expect(page.locator("#prompt textarea")).to_have_value("hello")
    page.reload()
    ready(page)
    expect(page.locator("#prompt textarea")).to_have_value("hello")
    upload(page, photo)
    page.locator("#prompt textarea").fill("The camera pans left.")
    generate(page)
    assert urlsplit(page.url).query == "embed=0&__theme=light"

    def comes_back() -> None:
        ready(page)
        expect(page.locator("#prompt textarea")).to_have_value("The camera pans left.")
        expect(page.locator("#picture img")).to_be_visible()
        expect(page.locator("#outcome")).to_contain_text("17 ")

    page.reload()
    comes_back()
    page.goto("data:text/html,elsewhere")
    page.go_back()
    comes_back()
    watched.forgive("AbortError", "Connection errored out")  # the page was left in the middle of a stream
