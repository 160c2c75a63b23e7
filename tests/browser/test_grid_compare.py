"""Comparing cells of a grid, and the chart of their numbers, in a real browser."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import until
from tests.browser.grids import AXES, clip_cell, open_grid, six
from tests.support.grid_page import READ_FRAMES, counted_clip, grid

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PLAYING_SIDES = "[...document.querySelectorAll('.wan-compare video')].filter(v => !v.paused).length"


def tick(page: Page, *jobs: str) -> None:
    for job in jobs:
        page.locator(f".cell[data-job={job}]").hover()
        page.locator(f".cell[data-job={job}] .pick input").check()


def mode(page: Page, word: str) -> None:
    page.locator(".compare-tools").get_by_role("button", name=word).click()


def still_at(page: Page, frame: int) -> None:
    """Pause, and show one frame in all."""
    page.wait_for_function(f"{PLAYING_SIDES} > 0")
    page.click(".transport [data-do=play]")
    page.locator(".transport [type=range]").fill(str(frame))
    page.wait_for_function(
        "[...document.querySelectorAll('.wan-compare video')].every(v => v.readyState > 1 && !v.seeking)"
    )
    page.wait_for_timeout(200)  # until it is painted


def picture_of(page: Page, selector: str, path: Path) -> np.ndarray:
    page.locator(selector).screenshot(path=path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_two_cells_play_side_by_side_in_step_while_the_grid_rests(visitor: Page, site: tuple[Path, str]) -> None:
    open_grid(visitor, site, six(("a", "b", "a", "b", "a", "b")))
    tick(visitor, "job-0", "job-4")
    visitor.wait_for_function(f"{PLAYING_SIDES} === 2")
    visitor.wait_for_function("[...document.querySelectorAll('.cell video')].every(v => v.paused)")
    still_at(visitor, 11)
    until(visitor, f"({READ_FRAMES})([...document.querySelectorAll('.wan-compare video')])", [11, 11])
    visitor.locator(".compare-tools [data-do=close]").click()
    expect(visitor.locator(".wan-compare")).to_have_count(0)
    expect(visitor.locator(".pick input:checked")).to_have_count(0)


def test_the_captions_name_only_what_differs_between_these_clips(visitor: Page, site: tuple[Path, str]) -> None:
    open_grid(visitor, site, six())
    tick(visitor, "job-0", "job-2")
    expect(visitor.locator(".wan-compare figcaption")).to_have_text(["Guidance 1", "Guidance 6"])
    expect(visitor.locator(".wan-compare .shared")).to_have_text("Both: Shift 2")
    tick(visitor, "job-3")
    expect(visitor.locator(".wan-compare figcaption")).to_have_text(
        ["Guidance 1 · Shift 2", "Guidance 6 · Shift 2", "Guidance 1 · Shift 5"]
    )


def test_the_wipe_follows_the_pointer_and_the_keys(visitor: Page, site: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = site
    counted_clip(folder / "red.mp4", 33, 16, (250, 0, 0), speed=0)
    counted_clip(folder / "blue.mp4", 33, 16, (0, 0, 250), speed=0)
    cells = [clip_cell(name, (at, 0, 0), "a") for at, name in enumerate(("red", "blue"))]
    body = grid(cells).replace("a.mp4", "red.mp4", 1).replace("a.mp4", "blue.mp4", 1)
    open_grid(visitor, site, body)
    tick(visitor, "red", "blue")
    mode(visitor, "Wipe")
    still_at(visitor, 8)
    handle = visitor.locator(".handle")
    expect(handle).to_have_attribute("aria-valuenow", "50")

    def red_share() -> float:
        row = picture_of(visitor, ".compare-stage figure:first-child .frame", tmp_path / "wipe.png")[-4]
        return float((row[:, 0] > row[:, 2]).mean())

    assert abs(red_share() - 0.5) < 0.03
    box = visitor.locator(".compare-stage figure:first-child .frame").bounding_box()
    assert box
    visitor.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    visitor.mouse.down()
    visitor.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 50, steps=3)
    visitor.mouse.up()
    assert abs(red_share() - 0.25) < 0.03
    handle.press("Shift+ArrowRight")
    handle.press("ArrowRight")
    expect(handle).to_have_attribute("aria-valuenow", "36")
    assert abs(red_share() - 0.36) < 0.03
    handle.press("End")
    assert red_share() > 0.97


def test_blinking_shows_one_clip_at_a_time_in_turn(visitor: Page, site: tuple[Path, str]) -> None:
    open_grid(visitor, site, six())
    tick(visitor, "job-0", "job-4")
    mode(visitor, "Blink")
    front = "[...document.querySelectorAll('.compare-stage figure')].findIndex(f => f.classList.contains('front'))"
    for at in (1, 0, 1):
        visitor.wait_for_function(f"{front} === {at}")
    visitor.locator("[data-do=other]").click()
    by_hand = visitor.evaluate(front)
    visitor.wait_for_timeout(1500)
    assert visitor.evaluate(front) == by_hand, "by hand from now on"
    visitor.locator("[data-do=other]").click()
    until(visitor, front, 1 - by_hand)


def test_blinking_waits_for_the_hand_of_those_who_want_no_motion(visitor: Page, site: tuple[Path, str]) -> None:
    visitor.emulate_media(reduced_motion="reduce")
    open_grid(visitor, site, six())
    tick(visitor, "job-0", "job-4")
    mode(visitor, "Blink")
    visitor.wait_for_timeout(1500)
    assert visitor.locator(".compare-stage figure").first.evaluate("f => f.classList.contains('front')")
    assert visitor.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)"), "nothing plays by itself"


def test_the_difference_is_the_distance_of_the_pixels_times_the_factor(
    visitor: Page, site: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = site
    counted_clip(folder / "grey.mp4", 33, 16, (100, 100, 100), speed=0)
    counted_clip(folder / "lighter.mp4", 33, 16, (110, 110, 110), speed=0)
    cells = [clip_cell(name, (at, 0, 0), "a") for at, name in enumerate(("grey", "lighter"))]
    open_grid(visitor, site, grid(cells).replace("a.mp4", "grey.mp4", 1).replace("a.mp4", "lighter.mp4", 1))
    tick(visitor, "grey", "lighter")
    mode(visitor, "Difference")
    still_at(visitor, 8)
    for times, white in ((1, "white 255 of"), (8, "white 32 or more of")):
        visitor.locator("[data-do=amplify]").select_option(str(times))
        expect(visitor.locator(".scale")).to_contain_text(white)
        visitor.wait_for_timeout(200)
        drawn = picture_of(visitor, "canvas:not([hidden])", tmp_path / "difference.png")
        lowest = np.median(drawn[-4])  # the bottom row: 10 levels apart
        assert abs(lowest - 10 * times) <= 2 * times


def test_three_cells_show_their_difference_to_the_reference(visitor: Page, site: tuple[Path, str]) -> None:
    open_grid(visitor, site, six(("a", "b", "a", "b", "a", "b")))
    tick(visitor, "job-0", "job-1", "job-2")
    expect(visitor.locator("[data-mode=wipe]")).to_have_count(0)
    mode(visitor, "Difference")
    expect(visitor.locator(".compare-stage canvas:visible")).to_have_count(2)
    visitor.locator("[data-do=reference]").select_option(label="Guidance 6")
    expect(visitor.locator("figure.reference figcaption")).to_have_text("Guidance 6")
    expect(visitor.locator(".compare-stage canvas:visible")).to_have_count(2)


def test_the_comparison_works_with_the_keyboard_alone(visitor: Page, site: tuple[Path, str]) -> None:
    open_grid(visitor, site, six(("a", "b", "a", "b", "a", "b")))
    for job in ("job-0", "job-1"):
        visitor.locator(f".cell[data-job={job}] .pick input").focus()
        visitor.keyboard.press("Space")
    visitor.locator("[data-mode=wipe]").focus()
    visitor.keyboard.press("Enter")
    visitor.keyboard.press("Tab")
    visitor.wait_for_function(f"{PLAYING_SIDES} === 2")
    visitor.locator(".handle").focus()
    visitor.keyboard.press("ArrowLeft")
    expect(visitor.locator(".handle")).to_have_attribute("aria-valuenow", "49")
    visitor.keyboard.press("Escape")
    expect(visitor.locator(".wan-compare")).to_have_count(0)


def test_the_numbers_are_one_mark_a_cell_over_the_columns(visitor: Page, site: tuple[Path, str]) -> None:
    measures = [
        {"name": "motion", "title": "Motion", "unit": "px/s", "help": "By optical flow."},
        {"name": "seconds", "title": "Time", "unit": "s", "help": "Without waiting."},
    ]
    cells = [
        clip_cell(f"job-{at}", (at % 3, at // 3, 0), "a", label=f"clip {at}", numbers={"motion": 10.0 * at})
        for at in range(5)
    ]
    open_grid(visitor, site, grid([*cells, clip_cell("job-5", (2, 1, 0), "a")], axes=AXES, measures=measures))
    marks = visitor.locator(".grid-chart .drawing .mark")
    expect(marks).to_have_count(5)
    expect(visitor.locator(".grid-chart .help")).to_have_text("By optical flow.")
    visitor.wait_for_timeout(200)  # until it is drawn for the last time
    places = marks.evaluate_all("all => all.map(mark => mark.getAttribute('transform').match(/[0-9.]+/g).map(Number))")
    heights = [y for _, y in places]
    assert heights == sorted(heights, reverse=True), "more motion stands higher"
    assert places[0][0] == places[3][0] < places[1][0], "one above the other in a column"
    visitor.evaluate("wanExplore.update({job: 'job-5', numbers: {motion: 7, seconds: 2}})")
    expect(marks).to_have_count(6)
    expect(visitor.locator(".grid-chart .legend li")).to_have_text([" Shift 2", " Shift 5"])
    visitor.locator(".grid-chart summary").click()
    expect(visitor.locator(".grid-chart table tr").nth(5)).to_have_text("clip 440—")
    visitor.locator(".grid-chart select").select_option(label="Time")
    expect(marks).to_have_count(1)
