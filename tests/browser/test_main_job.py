"""The main job in a real browser: picture, settings, Generate, a clip that plays; cancel, reload, another tab."""

import re
from pathlib import Path

import httpx
import imageio_ffmpeg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import (
    RUN_MS,
    Watched,
    choose,
    facts_of_video,
    generate,
    make_short,
    ready,
    set_number,
    unfold,
    upload,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
SECTIONS = ("sampling", "frames", "encoding", "checks", "where-it-runs")


def test_a_photo_becomes_the_clip_that_the_line_promised(
    watched: Watched, page: Page, photo: Path, tmp_path: Path
) -> None:
    upload(page, photo)
    page.locator("#prompt textarea").fill("The camera pans left.")
    for section in SECTIONS:
        unfold(page, section)
        expect(page.locator(f"#{section}")).to_be_visible()
    choose(page, "aspect_ratio", "1:1")
    make_short(page)
    set_number(page, "frames_per_second", 8)
    choose(page, "interpolator_model", "film")
    set_number(page, "num_interpolated_frames", 1)
    choose(page, "video_quality", "maximum")
    page.locator("#seed input, #seed textarea").fill("7")
    promise = "624×624 · 17 → 33 frames · 16 fps · 2.06 s"
    expect(page.locator("#outcome")).to_contain_text(promise)
    expect(page.locator("#picture .crop")).to_be_visible()

    job = generate(page)

    video = facts_of_video(page)
    assert (video["width"], video["height"], video["error"]) == (624, 624, 0)
    assert abs(video["seconds"] - 33 / 16) < 0.05
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(httpx.get(f"{watched.home}/files/{job}.mp4").content)
    assert imageio_ffmpeg.count_frames_and_secs(str(clip))[0] == 33
    expect(page.locator("#seed-used")).to_have_text("7")
    expect(page.locator("#prompt-used")).to_have_text("The camera pans left.")
    expect(page.locator("#facts")).to_contain_text("sampling")


def test_the_download_is_the_clip(page: Page) -> None:
    page.locator("#examples button").first.click()
    expect(page.locator("#prompt textarea")).not_to_have_value("")
    make_short(page)
    job = generate(page)
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == f"wan-{job[:8]}.mp4"
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"


def test_one_run_is_cancelled_and_another_is_found_again_after_a_reload(
    watched: Watched, page: Page, photo: Path
) -> None:
    upload(page, photo)
    page.locator("#prompt textarea").fill("The camera tilts up.")
    make_short(page, frames=49, steps=40)
    page.click("#generate")
    expect(page.locator("#status")).to_contain_text("so far", timeout=RUN_MS)
    page.click("#cancel")
    expect(page.locator("#status")).to_contain_text("Cancelled", timeout=RUN_MS)
    expect(page.locator("#generate")).to_be_enabled()
    expect(page.locator("#player video")).to_have_count(0)

    make_short(page, frames=17, steps=6)
    page.click("#generate")
    panel = page.locator("#status .panel.running")
    expect(panel).to_be_visible()
    job = panel.get_attribute("data-job")
    page.reload()
    ready(page)
    watched.forgive("AbortError", "Connection errored out")  # the page was left in the middle of a stream
    other_tab = watched.open()
    for seen in (page, other_tab):
        expect(seen.locator(f"#player video[data-job='{job}']")).to_be_visible(timeout=RUN_MS)
        unfold(seen, "sampling")
        expect(seen.locator("#num_inference_steps input[data-testid=number-input]")).to_have_value("6")
    assert facts_of_video(page)["width"] > 0


def test_what_is_missing_is_said_at_its_field_and_the_page_goes_on(page: Page, photo: Path) -> None:
    page.click("#generate")
    expect(page.locator("#prompt")).to_contain_text("prompt is empty")
    page.locator("#prompt textarea").fill("The camera pans left.")
    expect(page.locator("[data-of=picture]")).to_contain_text("Add a picture first")
    upload(page, photo)
    unfold(page, "sampling")
    page.locator("#seed input, #seed textarea").fill("soon")
    expect(page.locator("#faults")).to_contain_text("seed must be a whole number")
    page.locator("#seed input, #seed textarea").fill("")
    make_short(page)
    generate(page)


def test_a_file_that_is_no_picture_gets_a_sentence(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "photo.png"
    text.write_text("not a picture")
    page.locator("#picture input[type=file]").first.set_input_files(text)
    page.locator("#prompt textarea").fill("The camera pans left.")
    page.wait_for_timeout(1000)
    page.click("#generate")
    expect(page.get_by_text(re.compile("not a picture", re.IGNORECASE)).first).to_be_visible()
