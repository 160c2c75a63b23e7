"""Trim, loop, boomerang and *Use this frame*: a finished clip is cut anew without sampling, in a real browser."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched, filled, ready, set_number, unfold
from tests.support.mp4 import decoded
from tests.support.scripted_page import ScriptedPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
KEPT = 17


@pytest.fixture
def made(guest: Watched, photo: Path) -> Page:
    """A page with a finished clip of KEPT frames."""
    page = guest.open(f"?preset=draft&num_frames={KEPT}&interpolator_model=none")
    ready(page)
    filled(page, photo)
    expect(page.locator("#outcome")).to_contain_text(f"{KEPT} frames")
    page.click("#generate")
    expect(page.locator("#player video")).to_be_visible()
    return page


def show_frame(page: Page, number: int) -> None:
    """Stop the clip in the middle of frame `number`, from 0."""
    page.locator("#player video").evaluate(
        "(v, n) => { v.pause(); v.currentTime = (n + 0.5) / Number(v.dataset.fps); }", number
    )
    page.wait_for_function("document.querySelector('#player video').seeking === false")


def greys(scripted: ScriptedPage, job: str) -> list[float]:
    return [float(frame.mean()) for frame in decoded(scripted.house.jobs.files.clip(job))]


def cut(page: Page) -> str:
    before = page.locator("#player video").get_attribute("data-job")
    page.wait_for_timeout(1000)  # a second press within a second counts as a double click
    page.click("#make-cut")
    clip = page.locator(f"#player video:not([data-job='{before}'])")
    expect(clip).to_be_visible()
    return clip.get_attribute("data-job") or ""


def test_a_clip_is_trimmed_to_the_frames_on_show_and_plays_there_and_back(made: Page, scripted: ScriptedPage) -> None:
    unfold(made, "cut")
    show_frame(made, 4)
    made.click("#start-here")
    expect(made.locator("#first_frame input[data-testid=number-input]")).to_have_value("5")
    show_frame(made, 11)
    made.click("#end-here")
    expect(made.locator("#last_frame input[data-testid=number-input]")).to_have_value("12")
    made.locator("#ending label", has_text="Boomerang").click()
    job = cut(made)
    kept = np.load(scripted.house.jobs.files.frames(scripted.jobs[0].job.id)).mean((1, 2, 3))
    assert np.abs(np.array(greys(scripted, job)) - [*kept[4:12], *kept[10:4:-1]]).max() < 4
    expect(made.locator("#facts")).to_contain_text("frames 5 to 12 of 17, as a boomerang")
    expect(made.locator("#strip .card").first).to_contain_text("Frames 5 to 12 of 17, as a boomerang")
    made.locator("#ending label", has_text="Loop").click()
    loop = cut(made)
    expect(made.locator("#facts")).to_contain_text("frames 5 to 12 of 17, as a loop")
    assert len(greys(scripted, loop)) == 6
    assert [record.job.frames_of for record in scripted.jobs[1:]] == [scripted.jobs[0].job.id] * 2


def test_a_cut_that_cannot_be_is_said_with_its_limit(made: Page, guest: Watched) -> None:
    unfold(made, "cut")
    set_number(made, "last_frame", 99)
    made.click("#make-cut")
    expect(made.get_by_text("last_frame must be a whole number from 1 to 17").first).to_be_visible()


def test_the_frame_on_show_becomes_the_start_picture(made: Page, scripted: ScriptedPage) -> None:
    show_frame(made, 9)
    made.click("#use-frame")
    expect(made.get_by_text("Frame 10 of the clip is the start picture now.").first).to_be_visible()
    made.locator("#prompt textarea").fill("It goes on.")
    made.wait_for_timeout(1100)
    made.click("#generate")
    made.wait_for_function("document.querySelector('#prompt-used')?.textContent === 'It goes on.'")
    files, (first, second) = scripted.house.jobs.files, scripted.jobs
    with Image.open(files.picture(second.job.picture)) as picture:
        assert np.array_equal(np.asarray(picture), np.load(files.frames(first.job.id))[9])
