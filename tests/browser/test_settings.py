"""Presets, links, the history, comparing, copying and the embedded page, in a real browser."""

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
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
    until,
    upload,
)
from tests.support.jobs import MOST_FRAMES
from wan_core import encoding, recipe
from wan_core.geometry import Size
from wan_core.presets import presets
from wan_core.recipe import Recipe
from wan_core.timing import sampled_frames

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
RUNNABLE = [name for name, preset in presets().items() if preset.engine in (None, "miniature")]


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_preset_that_can_run_loads_validates_and_generates(page: Page, photo: Path, name: str) -> None:
    upload(page, photo)
    page.locator("#prompt textarea").fill("The camera pans left.")
    page.click(f"button[data-preset={name}]")
    expect(page.locator(f"button[data-preset={name}]")).to_have_attribute("aria-pressed", "true")
    for field, value in presets()[name].complete.items():
        if field in ("num_frames", "num_inference_steps", "frames_per_second", "num_interpolated_frames"):
            unfold(page, "sampling")
            unfold(page, "frames")
            expect(page.locator(f"#{field} input[data-testid=number-input]")).to_have_value(str(value))
    expect(page.locator("#outcome")).not_to_contain_text("must be")
    make_short(page)
    promised = page.locator("#outcome .outcome").inner_text()
    generate(page)
    video = facts_of_video(page)
    assert promised.startswith(f"{video['width']}×{video['height']} · 17 ")
    assert f"{video['seconds']:.2f} s" in promised and sampled_frames(17) == 17


def test_presets_that_cannot_run_are_one_line_that_says_why(page: Page) -> None:
    for name in set(presets()) - set(RUNNABLE):
        expect(page.locator(f"button[data-preset={name}]")).to_have_count(0)
    page.locator("#presets summary").click()
    expect(page.locator("#presets")).to_contain_text("needs a CUDA card with at least 22 GiB")


def test_the_clips_link_restores_every_changed_field(watched: Watched, page: Page, photo: Path) -> None:
    upload(page, photo)
    page.locator("#prompt textarea").fill("Pan left, “quoted” & 100 %?")
    make_short(page)
    for section in ("encoding", "checks"):
        unfold(page, section)
    numbers = {"guidance_scale": 2.4, "guidance_scale_2": 6.1, "shift": 7.5, "frames_per_second": 9}
    for field, number in numbers.items():
        set_number(page, field, number)
    words = {"video_quality": "low", "video_write_mode": "fast", "acceleration": "none", "aspect_ratio": "9:16"}
    for field, word in words.items():
        choose(page, field, word)
    page.locator("#adjust_fps_for_interpolation input").uncheck()
    page.locator("#negative_prompt textarea").fill("blurry")
    page.locator("#seed input, #seed textarea").fill("123456789012345")
    generate(page)
    link = page.locator("#clip-link").get_attribute("href")
    assert link

    watched.context.clear_cookies()
    fresh = watched.open()
    fresh.evaluate("localStorage.clear()")
    fresh.goto(f"{watched.home}/{link}")
    ready(fresh)
    expect(fresh.locator("#prompt textarea")).to_have_value("Pan left, “quoted” & 100 %?")
    for section in ("sampling", "frames", "encoding", "checks"):
        unfold(fresh, section)
    for field, number in {**numbers, "num_frames": 17, "num_inference_steps": 2}.items():
        expect(fresh.locator(f"#{field} input[data-testid=number-input]")).to_have_value(str(number))
    for field, word in words.items():
        expect(fresh.locator(f"#{field} input[value='{word}']")).to_be_checked()
    expect(fresh.locator("#adjust_fps_for_interpolation input")).not_to_be_checked()
    expect(fresh.locator("#negative_prompt textarea")).to_have_value("blurry")
    expect(fresh.locator("#seed input, #seed textarea")).to_have_value("123456789012345")


def test_an_address_fills_the_controls_within_their_bounds(watched: Watched) -> None:
    page = watched.open("?prompt=hello&num_frames=999&preset=draft&shift=oops&unknown=1")
    ready(page)
    expect(page.locator("#prompt textarea")).to_have_value("hello")
    unfold(page, "frames")
    expect(page.locator("#num_frames input[data-testid=number-input]")).to_have_value(str(MOST_FRAMES))
    expect(page.locator("#preset-description")).to_contain_text("Draft, changed:")


def test_the_history_restores_and_compares(watched: Watched, page: Page, photo: Path) -> None:
    upload(page, photo)
    page.locator("#prompt textarea").fill("The camera pans left.")
    make_short(page)
    set_number(page, "frames_per_second", 24)
    first = generate(page)
    page.locator("#prompt textarea").fill("The camera pans right.")
    generate(page)
    cards = page.locator("#strip .card")
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("Prompt: The camera pans right.")

    page.click(f"#strip button[data-clip='{first}']")
    expect(page.locator(f"#player video[data-job='{first}']")).to_be_visible()
    expect(page.locator("#prompt textarea")).to_have_value("The camera pans left.")

    for box in page.locator("#strip .card input[type=checkbox]").all():
        box.check()
    expect(page.locator(".wan-compare figcaption")).to_have_text(
        [
            re.compile(r"Prompt The camera pans right\. · Seed \d+"),
            re.compile(r"Prompt The camera pans left\. · Seed \d+"),
        ]
    )
    page.wait_for_function("[...document.querySelectorAll('.wan-compare video')].every(v => v.currentTime > 0.1)")
    expect(page.locator(".wan-compare canvas").first).to_be_hidden()  # else it would cover the clip
    times = page.evaluate("[...document.querySelectorAll('.wan-compare video')].map(v => v.currentTime)")
    assert abs(times[0] - times[1]) < 0.1

    page.reload()
    expect(cards).to_have_count(2)
    watched.forgive("signal is aborted", "Connection errored out")  # what Gradio's client says as a page is left


def test_link_and_embed_code_are_copied(watched: Watched, page: Page) -> None:
    unfold(page, "frames")
    set_number(page, "num_frames", 49)
    expect(page.locator("#outcome")).to_contain_text("49")
    page.wait_for_timeout(500)
    page.click("#copy-link")
    expect(page.locator("#copy-link")).to_have_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{watched.home}/?")
    assert dict(parse_qsl(urlsplit(link).query))["num_frames"] == "49"
    page.click("#copy-embed")
    expect(page.locator("#copy-embed")).to_have_text("Copied")
    code = page.evaluate("navigator.clipboard.readText()")
    assert code.startswith(f'<iframe src="{watched.home}/?embed=1&amp;')


def test_a_saved_clip_brings_its_settings_back_and_another_file_is_refused(
    page: Page, photo: Path, tmp_path: Path
) -> None:
    clip, kept = tmp_path / "clip.mp4", Recipe({"num_frames": 49, "prompt": "The camera tilts up – 上."}, "miniature")
    black, comment = np.zeros((2, 64, 64, 3), np.uint8), recipe.to_comment(kept, "1")
    encoding.encode(black, clip, size=Size(64, 64), fps=16, quality="low", write_mode="fast", comment=comment)
    page.locator("#saved input").set_input_files(clip)
    expect(page.locator("#prompt textarea")).to_have_value("The camera tilts up – 上.")
    expect(page.locator("#outcome")).to_contain_text("49 frames")
    page.locator("#saved input").set_input_files(photo)
    expect(page.get_by_text("This file carries no settings of this app.").first).to_be_visible()


def test_the_fal_request_follows_the_form(page: Page) -> None:
    unfold(page, "fal-request")
    page.locator("#prompt textarea").fill("A cat turns its head.")
    expect(page.locator("#snippet-python")).to_contain_text("A cat turns its head.")
    expect(page.locator("#snippet-python")).to_contain_text("fal_client.subscribe")


def test_chips_and_wans_negative_prompt_are_one_click_away(page: Page) -> None:
    page.click("button[data-chip='Pan left']")
    expect(page.locator("#prompt textarea")).to_have_value("The camera pans left.")
    unfold(page, "checks")
    page.click("#wan-negative-prompt")
    expect(page.locator("#negative_prompt textarea")).not_to_have_value("")


def test_a_page_of_another_origin_embeds_generates_and_plays(watched: Watched, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        f'<!doctype html><title>Blog</title><link rel="icon" href="data:,"><iframe id="wan" width="700" height="900" '
        f'src="{watched.home}/?embed=1&preset=draft&num_frames=17&num_inference_steps=2"></iframe>'
    )
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path))) as blog:
        threading.Thread(target=blog.serve_forever, daemon=True).start()
        address = f"http://localhost:{blog.server_address[1]}"
        watched.friends.append(address)
        page = watched.open(address=f"{address}/index.html")
        frame = page.frame_locator("#wan")
        expect(frame.locator("#outcome .outcome")).to_contain_text("17 frames")
        for hidden in ("#header", "#presets", "#sampling", "#strip", "#fal-request", "#image_url", "#examples"):
            expect(frame.locator(hidden)).to_be_hidden()
        frame.locator("#picture input[type=file]").first.set_input_files(photo)
        expect(frame.locator("#picture img")).to_be_visible()
        frame.locator("#prompt textarea").fill("The camera pans left.")
        frame.locator("#generate").click()
        expect(frame.locator("#player video")).to_be_visible(timeout=RUN_MS)
        frame.locator("#player video").evaluate("v => v.play()")
        expect(frame.locator("#player video")).not_to_have_js_property("currentTime", 0)
        blog.shutdown()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_scrolls_one_way_only_and_shows_the_result_first(watched: Watched, photo: Path, theme: str) -> None:
    page = watched.open(f"?__theme={theme}&preset=draft&num_frames=17&num_inference_steps=2&prompt=hello")
    page.set_viewport_size({"width": 390, "height": 844})
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    upload(page, photo)
    generate(page)
    player, picture = page.locator("#player").bounding_box(), page.locator("#picture").bounding_box()
    assert player and picture and player["y"] < picture["y"]
    unfold(page, "fal-request")
    expect(page.locator("#snippet-python")).to_contain_text("fal_client.subscribe")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    until(page, "document.body.classList.contains('dark')", theme == "dark")
