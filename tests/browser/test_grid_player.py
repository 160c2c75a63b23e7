"""The grid's player in a real browser, on a static page with clips whose frames carry their number."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.grids import PLAYING, clip_cell, open_grid, pause, shown_frames, six
from tests.support.grid_page import READ_FRAMES, cell, grid
from wan_core.ui.explore.assets import exported_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SAMPLE = (
    """async milliseconds => {
  const read = """
    + READ_FRAMES
    + """, grid = document.querySelector('.explore-grid'), samples = [];
  const videos = [...grid.querySelectorAll('.cell video')], end = performance.now() + milliseconds;
  while (performance.now() < end) {
    await new Promise(done => setTimeout(done, 250));
    await new Promise(done => requestAnimationFrame(done));
    if (videos.every(v => !v.paused && !v.seeking)) {
      samples.push({clocks: videos.map(v => v.currentTime), frames: read(videos)});
    }
  }
  return samples;
}"""
)


def test_twelve_clips_stay_within_one_frame_of_each_other_for_thirty_seconds(
    visitor: Page, site: tuple[Path, str]
) -> None:
    cells = [clip_cell(f"job-{at}", (at % 4, at // 4, 0), "ab"[at % 2]) for at in range(12)]
    open_grid(visitor, site, grid(cells, most_playing=12))
    visitor.set_viewport_size({"width": 1280, "height": 1400})
    visitor.wait_for_function(f"{PLAYING} === 12")
    visitor.wait_for_timeout(1000)
    samples = visitor.evaluate(SAMPLE, 30_000)
    assert len(samples) > 40, "the clips hardly played"
    assert len({sample["frames"][0] for sample in samples}) > 8, "nothing moved"
    apart = [spread(sample["clocks"]) * 16 for sample in samples]
    assert max(apart) <= 1, f"clocks apart, in frames: {apart}"
    painted = sorted(spread(sample["frames"]) for sample in samples)
    assert painted[len(painted) * 9 // 10] <= 1, f"frames apart on the screen: {painted}"  # a busy machine paints late


def spread(numbers: Sequence[float]) -> float:
    return max(numbers) - min(numbers)


def test_clips_of_any_rate_show_the_same_moment_when_paused_stepped_and_scrubbed(
    visitor: Page, site: tuple[Path, str]
) -> None:
    open_grid(visitor, site, six(("a", "b", "fast", "fast", "slow", "film")))
    pause(visitor)
    visitor.locator(".transport [type=range]").fill("30")  # of 66 at 32 fps: 0.95 s
    assert shown_frames(visitor) == [15, 15, 30, 30, 7, 22]
    visitor.locator("body").press("ArrowRight")
    assert shown_frames(visitor) == [15, 15, 31, 31, 7, 23]
    visitor.locator("body").press("ArrowRight")
    assert shown_frames(visitor) == [16, 16, 32, 32, 8, 24]
    visitor.locator("body").press("ArrowLeft")
    assert shown_frames(visitor) == [15, 15, 31, 31, 7, 23]
    visitor.locator("body").press("Home")
    assert shown_frames(visitor) == [0] * 6
    visitor.locator("body").press("Space")
    visitor.wait_for_function(f"{PLAYING} === 6")


def test_a_shorter_clip_holds_its_last_frame_and_says_so_until_all_begin_again(
    visitor: Page, site: tuple[Path, str]
) -> None:
    open_grid(visitor, site, six(("a", "short", "a", "a", "a", "a")))
    hold = visitor.locator(".cell[data-job=job-1] .hold")
    expect(hold).to_be_visible()
    expect(hold).to_have_text("ended at 1.06 s: its last frame")
    expect(hold).to_be_hidden()  # the others came to their end: all from the start
    expect(hold).to_be_visible()
    pause(visitor)
    visitor.locator(".transport [type=range]").fill("25")
    assert shown_frames(visitor) == [25, 16, 25, 25, 25, 25]
    visitor.locator(".transport [type=range]").fill("5")
    assert shown_frames(visitor) == [5] * 6
    expect(hold).to_be_hidden()


def test_a_weak_machine_plays_nine_and_the_others_follow_when_paused(visitor: Page, site: tuple[Path, str]) -> None:
    visitor.set_viewport_size({"width": 1280, "height": 1400})
    cells = [clip_cell(f"job-{at}", (at % 4, at // 4, 0), "a") for at in range(12)]
    visitor.add_init_script("Object.defineProperty(navigator, 'hardwareConcurrency', {value: 2})")
    open_grid(visitor, site, grid(cells))
    visitor.wait_for_function(f"{PLAYING} === 9")
    expect(visitor.locator(".player-notes")).to_have_text(
        "9 clips play at once on this device; 3 more follow when you pause."
    )
    pause(visitor)
    visitor.locator(".transport [type=range]").fill("20")
    assert shown_frames(visitor) == [20] * 12


def test_only_what_is_in_sight_is_loaded_and_plays(visitor: Page, site: tuple[Path, str]) -> None:
    visitor.set_viewport_size({"width": 600, "height": 500})
    cells = [
        clip_cell(f"job-{at}", (0, at, 0), "a", poster="data:image/gif;base64,R0lGODlhAQABAAAAACw=") for at in range(9)
    ]
    open_grid(visitor, site, grid(cells))
    visitor.wait_for_function(f"{PLAYING} > 0")
    last = visitor.locator(".cell[data-job=job-8] video")
    assert last.evaluate("video => [video.getAttribute('src'), video.readyState, video.poster.slice(0, 10)]") == [
        None, 0, "data:image",
    ]  # fmt: skip
    last.scroll_into_view_if_needed()
    visitor.wait_for_function("!document.querySelector('.cell[data-job=job-8] video').paused")
    visitor.wait_for_function("document.querySelector('.cell[data-job=job-0] video').paused")


def test_one_cell_changes_and_the_other_videos_go_on(visitor: Page, site: tuple[Path, str]) -> None:
    waiting = cell("job-new", (2, 0, 0), state="waiting", status="second in the queue")
    cells = [clip_cell("job-0", (0, 0, 0), "a"), clip_cell("job-1", (1, 0, 0), "b"), waiting]
    open_grid(visitor, site, grid(cells))
    visitor.wait_for_function(f"{PLAYING} === 2")
    visitor.evaluate("""() => {
      window.interruptions = [];
      window.before = [...document.querySelectorAll('.cell video')];
      for (const name of ['emptied', 'loadstart', 'abort', 'pause']) before.slice(0, 2).forEach(video =>
        video.addEventListener(name, () => { if (!video.ended) interruptions.push(name); }));
    }""")
    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    visitor.evaluate(
        "pixel => wanExplore.update({job: 'job-new', state: 'running', status: 'step 3 of 8', poster: pixel})", pixel
    )
    fresh = visitor.locator(".cell[data-job=job-new]")
    expect(fresh).to_have_attribute("data-state", "running")
    expect(fresh.locator(".status")).to_have_text("step 3 of 8")
    expect(fresh.locator("video")).to_have_attribute("poster", pixel)
    visitor.evaluate(
        "wanExplore.update([{job: 'job-new', state: 'done', status: '', clip: 'a.mp4', fps: 16, frames: 33}])"
    )
    visitor.wait_for_function(f"{PLAYING} === 3")
    assert visitor.evaluate("before.every((video, at) => video === document.querySelectorAll('.cell video')[at])")
    assert set(visitor.evaluate("interruptions")) <= {"pause"}, "a loop may pause"
    samples = visitor.evaluate(SAMPLE, 1500)
    assert samples and max(spread(sample["clocks"]) for sample in samples) <= 1 / 16, "the new clip joins in step"


def test_a_failed_cell_run_again_takes_the_new_job(visitor: Page, site: tuple[Path, str]) -> None:
    failed = cell("job-old", (1, 0, 0), state="failed", status="The worker stopped.")
    open_grid(visitor, site, grid([clip_cell("job-0", (0, 0, 0), "a"), failed]))
    visitor.evaluate("wanExplore.update({job: 'job-two', replaces: 'job-old', state: 'waiting', status: 'waits'})")
    expect(visitor.locator(".cell[data-job=job-two] .status")).to_have_text("waits")
    expect(visitor.locator(".cell[data-job=job-old]")).to_have_count(0)


def test_axes_swap_and_move_to_pages_without_loading_a_clip_again(visitor: Page, site: tuple[Path, str]) -> None:
    open_grid(visitor, site, six(("a", "b", "a", "b", "a", "b")))
    visitor.wait_for_function(f"{PLAYING} === 6")
    visitor.evaluate("""() => {
      window.loads = 0;
      document.querySelectorAll('.cell video').forEach(v => v.addEventListener('loadstart', () => { loads += 1; }));
    }""")
    heads = visitor.locator(".head.column b")
    expect(heads).to_have_text(["1", "3.5", "6"])
    visitor.locator("[data-role='0']").select_option(label="Shift")
    expect(heads).to_have_text(["2", "5"])
    expect(visitor.locator(".head.row b")).to_have_text(["1", "3.5", "6"])
    first, right = (visitor.locator(f".cell[data-job={job}]").bounding_box() for job in ("job-0", "job-3"))
    assert first and right and right["x"] > first["x"] and right["y"] == first["y"]
    visitor.locator("[data-role='2']").select_option(label="Guidance")
    expect(visitor.locator(".cell:not(.behind)")).to_have_count(2)
    visitor.locator(".switches .page input").fill("2")
    expect(visitor.locator(".switches .page b")).to_have_text("6")
    expect(visitor.locator(".cell[data-job=job-2]")).not_to_have_class("cell behind")
    assert visitor.evaluate("loads") == 0


def test_on_a_phone_a_slider_flips_the_cells_in_place_at_the_same_moment(visitor: Page, site: tuple[Path, str]) -> None:
    visitor.set_viewport_size({"width": 390, "height": 844})
    open_grid(visitor, site, six(("a", "b", "a", "b", "a", "b")))
    assert visitor.evaluate("document.documentElement.scrollWidth") <= 390
    expect(visitor.locator(".cell:not(.behind)")).to_have_count(2)
    pause(visitor)
    visitor.locator(".transport [type=range]").fill("12")
    before = visitor.locator(".cell[data-job=job-0] video").bounding_box()
    assert shown_frames(visitor) == [12, 12]
    visitor.locator(".switches .flip input").fill("1")
    expect(visitor.locator(".switches .flip b")).to_have_text("3.5")
    expect(visitor.locator(".cell[data-job=job-1]")).not_to_have_class("cell behind")
    assert shown_frames(visitor) == [12, 12]
    assert visitor.locator(".cell[data-job=job-1] video").bounding_box() == before


def test_a_press_bubbles_with_the_job_and_the_moment_on_show(visitor: Page, site: tuple[Path, str]) -> None:
    open_grid(visitor, site, six())
    visitor.evaluate(
        "document.addEventListener('wan:cell-action', event => { window.said = event.detail; event.preventDefault(); })"
    )
    pause(visitor)
    visitor.locator(".transport [type=range]").fill("20")
    shown_frames(visitor)
    chosen = visitor.locator(".cell[data-job=job-1]")
    chosen.get_by_role("button", name="More").click()
    chosen.get_by_role("button", name="Use this frame").click()
    said = visitor.evaluate("said")
    assert (said["action"], said["job"]) == ("use-frame", "job-1")
    assert abs(said["time"] - 20 / 32) < 1 / 32, "frame 20 of 32 a second"


def test_the_exported_page_plays_in_step_from_a_disk(visitor: Page, site: tuple[Path, str]) -> None:
    folder, _ = site
    (folder / "export.html").write_text(exported_page("Guidance × shift", six()), "utf-8")
    visitor.goto((folder / "export.html").as_uri())
    expect(visitor).to_have_title("Guidance × shift")
    visitor.wait_for_function(f"{PLAYING} >= 5")
    pause(visitor)
    visitor.locator("body").press("Home")
    visitor.locator("body").press("ArrowRight")
    visitor.wait_for_function("[...document.querySelectorAll('.cell video')].every(v => !v.seeking)")
    times = visitor.evaluate("[...document.querySelectorAll('.cell video')].map(v => v.currentTime)")
    assert max(times) - min(times) <= 1 / 16
