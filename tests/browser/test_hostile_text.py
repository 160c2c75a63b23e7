"""Text of strangers in a real browser: whatever way it comes, it is shown as text, and no script of it runs."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import gradio as gr
import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched, generate, make_short, ready, upload
from tests.support.app import free_port
from wan_core import encoding, recipe
from wan_core.errors import BackendError
from wan_core.geometry import Size
from wan_core.recipe import Recipe
from wan_core.ui.errors import as_gradio_error

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]
HOSTILE = '<img src=x onerror="window.ran=1"><svg onload="window.ran=1"><script>window.ran=1</script>"\'>&lt;b>'
FIELDS = ("prompt", "negative_prompt", "image_url", "preset", "engine", "resolution", "num_frames", "video_quality")


def nothing_ran(page: Page) -> None:
    page.wait_for_timeout(500)
    assert page.evaluate("window.ran") is None
    assert page.locator('img[src="x"]').count() == 0


@pytest.mark.parametrize(
    "query", [dict.fromkeys(FIELDS, HOSTILE), {"prompt": HOSTILE}, {HOSTILE: HOSTILE}], ids=range(3)
)
def test_a_share_link(watched: Watched, query: dict[str, str]) -> None:
    page = watched.open("?" + urlencode(query))
    ready(page)
    if "prompt" in query:
        expect(page.locator("#prompt textarea")).to_have_value(HOSTILE)
    nothing_ran(page)
    watched.forgive("Not allowed to load", "Failed to load resource", "ERR_")


def test_a_prompt_and_a_file_name_up_to_the_clip_and_its_settings(watched: Watched, page: Page, photo: Path) -> None:
    named = photo.with_name("<img src=x onerror=window.ran=1>.jpg")
    shutil.copyfile(photo, named)
    upload(page, named)
    page.locator("#prompt textarea").fill(HOSTILE)
    make_short(page)
    job = generate(page)
    expect(page.locator("#prompt-used")).to_have_text(HOSTILE)
    nothing_ran(page)
    again = watched.open(f"?job={job}")
    ready(again)
    nothing_ran(again)


def test_a_refused_picture_address(page: Page, watched: Watched) -> None:
    page.locator("#prompt textarea").fill("a walk")
    page.click("#address-toggle button")
    box = page.locator("#image_url textarea, #image_url input").first
    if box.is_visible():
        box.fill(HOSTILE)
        page.click("#generate")
        expect(page.get_by_text(re.compile("address|URL|picture", re.IGNORECASE)).first).to_be_visible()
    nothing_ran(page)


def test_the_comment_of_an_mp4(page: Page, watched: Watched, tmp_path: Path) -> None:
    """A strange file may carry anything where this app keeps the settings of a clip."""
    black = np.zeros((2, 64, 64, 3), np.uint8)
    kept = recipe.to_comment(Recipe({"prompt": HOSTILE, "negative_prompt": HOSTILE}, HOSTILE), HOSTILE)
    for number, comment in enumerate((kept, HOSTILE, kept.replace('"request"', f'"{HOSTILE[:9]}"'))):
        clip = tmp_path / f"{number}.mp4"
        encoding.encode(black, clip, size=Size(64, 64), fps=16, quality="low", write_mode="fast", comment=comment)
        page.locator("#saved input").set_input_files(clip)
        page.wait_for_timeout(1500)
        nothing_ran(page)
    expect(page.locator("#prompt textarea")).to_have_value(HOSTILE)
    watched.forgive("Failed to load resource")


@contextmanager
def failing_page() -> Iterator[str]:
    """A page whose event fails with a stranger's words, as a job on fal may."""

    def fail() -> None:
        with as_gradio_error():
            raise BackendError("downstream_service_error", HOSTILE)

    with gr.Blocks(analytics_enabled=False) as built:
        gr.Button("Fail").click(fail)
    _, address, _ = built.launch(server_port=free_port(), prevent_thread_lock=True, quiet=True, ssr_mode=False)
    try:
        yield address.rstrip("/")
    finally:
        built.close()


def test_the_words_of_another_service_in_an_error_message(watched: Watched) -> None:
    with failing_page() as address:
        watched.friends.append(address)
        page = watched.open(address=address)
        page.get_by_role("button", name="Fail").click()
        expect(page.get_by_test_id("toast-body")).to_be_visible()
        nothing_ran(page)
