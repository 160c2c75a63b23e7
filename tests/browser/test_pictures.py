"""A picture is judged when it is chosen, in a real browser."""

import base64
import time
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import choose, facts_of_video, generate, make_short, upload

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


QUIET_S = 2.5  # far above the time between two requests of a page that goes round in a circle


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """A wide photo that its EXIF turns upright."""
    picture = Image.linear_gradient("L").convert("RGB").resize((800, 450))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    return tmp_path / "turned.jpg"


def test_a_refusal_comes_at_once_blocks_nothing_and_goes_with_the_file(page: Page, photo: Path, tmp_path: Path) -> None:
    text = tmp_path / "photo.png"
    text.write_text("not a picture")
    page.locator("#picture input[type=file]").first.set_input_files(text)
    said = page.locator("#picture-check")
    expect(said.locator(".fault")).to_contain_text("not a picture")
    page.locator("#prompt textarea").fill("The camera pans left.")
    choose(page, "aspect_ratio", "1:1")
    expect(page.locator("#outcome")).to_contain_text("624×624")
    page.click("#picture button[aria-label='Remove Image']")
    expect(said).to_be_empty()
    upload(page, photo)
    expect(said).to_contain_text("What the engine will see")


def test_thumbnail_size_line_and_clip_agree_on_a_turned_photo(page: Page, turned: Path) -> None:
    upload(page, turned)
    expect(page.locator("#outcome")).to_contain_text("480×832")
    thumbnail = page.locator("#picture-check img")
    assert thumbnail.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [138, 240]
    choose(page, "aspect_ratio", "1:1")
    expect(thumbnail).to_have_attribute("width", "240")
    choose(page, "aspect_ratio", "auto")
    expect(thumbnail).to_have_attribute("width", "138")
    page.locator("#prompt textarea").fill("The camera pans left.")
    make_short(page)
    generate(page)
    video = facts_of_video(page)
    assert (video["width"], video["height"]) == (480, 832)


def test_an_address_is_judged_once_it_is_typed(page: Page, photo: Path) -> None:
    page.click("#address-toggle button")
    box, said = page.locator("#image_url :is(input, textarea)"), page.locator("#picture-check")
    box.press_sequentially("http://127.0.0.1/a.png", delay=50)
    expect(said.locator(".fault")).to_be_visible()
    assert said.inner_text()
    box.fill("data:image/jpeg;base64," + base64.b64encode(photo.read_bytes()).decode())
    expect(said).to_contain_text("What the engine will see")
    expect(page.locator("#outcome")).to_contain_text("832×480")
    box.fill("")
    expect(said).to_be_empty()
    expect(page.locator("#outcome")).to_contain_text("size follows the picture")


def test_the_page_rests_once_a_picture_is_chosen_and_once_it_is_sent(page: Page, photo: Path) -> None:
    asked = [time.monotonic()]
    page.on("request", lambda request: asked.append(time.monotonic()) if request.method == "POST" else None)

    def rests() -> None:
        given_up = time.monotonic() + 60
        while time.monotonic() - asked[-1] < QUIET_S:
            assert time.monotonic() < given_up, f"{len(asked) - 1} requests, and no end"
            page.wait_for_timeout(100)

    page.locator("#examples button").first.click()
    expect(page.locator("#picture-check")).to_contain_text("What the engine will see")
    rests()
    page.click("#picture button[aria-label='Remove Image']")
    upload(page, photo)
    rests()
    make_short(page)
    page.click("#generate")
    expect(page.locator("#cancel")).to_be_visible()
    rests()
    page.click("#cancel")
    expect(page.locator("#cancel")).to_be_hidden()
