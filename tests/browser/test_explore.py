"""The Explore tab in a real browser over a scripted engine: from a photo to a grid, its exports and its guests."""

import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Frame, FrameLocator, Page, expect

from tests.browser.conftest import RUN_MS, Watched, filled, ready, unfold
from tests.support.scripted_page import ScriptedPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1500)]
EXPORTS = {
    "video": "grid.mp4",
    "sheet": "contact-sheet.png",
    "csv": "grid.csv",
    "json": "grid.json",
    "page": "grid.zip",
}
DONE = "#explore-grid .cell[data-state=done]"
IN_STEP = """count => {
  const videos = [...document.querySelectorAll('.explore-grid .cell video')], times = videos.map(v => v.currentTime);
  return videos.length === count && videos.every(v => !v.paused && v.readyState > 2) &&
    Math.min(...times) > 0.1 && Math.max(...times) - Math.min(...times) <= 1 / 16;
}"""
STANDS_AT = """seconds => [...document.querySelectorAll('.explore-grid .cell video')].every(
  v => v.paused && !v.seeking && v.readyState > 1 && Math.abs(v.currentTime - seconds) < 1 / 32)"""


def open_tab(page: Page) -> None:
    page.get_by_role("tab", name="Explore").click()
    expect(page.locator("#explore-make")).to_be_visible()


def values(page: Page, axis: int) -> str:
    return page.locator(f"#axis-values-{axis} :is(input, textarea)").first.input_value()


def choose_knob(page: Page, axis: int, title: str) -> None:
    page.locator(f"#axis-knob-{axis} input").click()
    page.get_by_role("option", name=title, exact=True).click()


def make_grid(page: Page, cells: int) -> str:
    """Press the button and wait for all clips; the sweep's id."""
    page.click("#explore-make")
    expect(page.locator("#explore-grid .cell")).to_have_count(cells, timeout=RUN_MS)
    expect(page.locator(DONE)).to_have_count(cells, timeout=cells * RUN_MS)
    sweep = page.locator("#explore-grid .explore-grid").get_attribute("data-sweep")
    assert sweep
    return sweep


def plays_in_step(page: Page | Frame, cells: int) -> None:
    """All play, within a frame of each other; paused and stepped, they stand at the same moment."""
    page.wait_for_function(IN_STEP, arg=cells, timeout=RUN_MS)
    page.locator(".transport [data-do=play]").first.click()
    page.locator(".transport [type=range]").first.fill("7")
    page.wait_for_function(STANDS_AT, arg=7.5 / 16, timeout=RUN_MS)


def exported(page: Page, kind: str, folder: Path) -> Path:
    page.click(f"#export-{kind}")
    link = page.locator(f"#explore-file a[href*='{EXPORTS[kind]}']").first
    expect(link).to_be_visible(timeout=RUN_MS)
    with page.expect_download() as download:
        link.click()
    path = folder / EXPORTS[kind]
    download.value.save_as(path)
    return path


def test_a_photo_becomes_a_grid_that_is_compared_exported_and_promoted(
    guest: Watched, photo: Path, tmp_path: Path
) -> None:
    page = guest.open()
    ready(page)
    filled(page, photo)
    open_tab(page)
    choose_knob(page, 0, "Guidance scale (1st stage)")
    choose_knob(page, 1, "Shift")
    expect(page.locator("#axis-values-1 :is(input, textarea)").first).to_have_value("2, 5, 8")
    assert values(page, 0) == "1, 3.5, 6"
    expect(page.locator("#explore-line")).to_contain_text("3 × 3 = 9 clips")

    make_grid(page, 9)
    plays_in_step(page, 9)
    centre = page.locator("#explore-grid .cell[data-row='1'][data-column='1']")
    expect(centre).to_have_attribute("data-label", "Guidance scale (1st stage) 3.5 · Shift 5")

    wipe_between_two(page)
    for kind in EXPORTS:
        assert exported(page, kind, tmp_path).stat().st_size > 100
    opens_from_disk(guest, tmp_path)

    centre.locator("[data-action=promote]").click()
    expect(page.locator("#player video")).to_be_visible(timeout=RUN_MS)
    expect(page.locator("#facts")).to_contain_text("49 frames")


def wipe_between_two(page: Page) -> None:
    for column in (0, 2):
        cell = page.locator(f"#explore-grid .cell[data-row='1'][data-column='{column}']")
        cell.hover()
        cell.locator(".pick input").check()
    page.locator(".compare-tools").get_by_role("button", name="Wipe").click()
    captions = page.locator(".wan-compare figcaption")
    expect(captions).to_have_text(["Guidance scale (1st stage) 1", "Guidance scale (1st stage) 6"])
    handle = page.locator(".wan-compare .handle")
    handle.press("ArrowLeft")
    expect(handle).to_have_attribute("aria-valuenow", "49")
    page.locator(".compare-tools [data-do=close]").click()
    expect(page.locator(".wan-compare")).to_have_count(0)


def opens_from_disk(watched: Watched, folder: Path) -> None:
    with zipfile.ZipFile(folder / EXPORTS["page"]) as pack:
        pack.extractall(folder / "site")
    watched.friends.append("file://")
    page = watched.open(address=(folder / "site" / "index.html").as_uri())
    plays_in_step(page, 9)
    expect(page.locator(".actions button")).to_have_count(0)
    page.close()


@contextmanager
def blog(folder: Path) -> Iterator[str]:
    """A host of another origin that serves `folder`; its address."""
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}"
        server.shutdown()


def test_a_reload_finds_the_grid_again_and_a_page_of_another_origin_embeds_it(
    guest: Watched, photo: Path, tmp_path: Path
) -> None:
    page = guest.open()
    ready(page)
    filled(page, photo)
    open_tab(page)
    choose_knob(page, 0, "Shift")
    choose_knob(page, 1, "—")
    expect(page.locator("#explore-line")).to_contain_text("3 clips")
    sweep = make_grid(page, 3)
    page.reload()
    page.get_by_role("tab", name="Explore").click(timeout=RUN_MS)
    expect(page.locator(DONE)).to_have_count(3, timeout=RUN_MS)
    expect(page.locator("#export-video")).to_be_visible(timeout=RUN_MS)
    page.close()
    embeds_elsewhere(guest, sweep, tmp_path)


def embeds_elsewhere(guest: Watched, sweep: str, folder: Path) -> None:
    address = f"{guest.home}/?show={sweep}&embed=1"
    (folder / "index.html").write_text(
        '<!doctype html><title>Blog</title><link rel="icon" href="data:,">'
        f'<iframe id="grid" width="1000" height="820" src="{address}"></iframe>'
    )
    with blog(folder) as home:
        guest.friends.append(home)
        page = guest.open(address=f"{home}/index.html")
        frame = page.frame_locator("#grid")
        expect(frame.locator(DONE)).to_have_count(3, timeout=RUN_MS)
        inside = page.query_selector("#grid").content_frame()  # type: ignore[union-attr]
        assert inside is not None
        plays_in_step(inside, 3)
        is_read_only(frame)


def is_read_only(frame: FrameLocator) -> None:
    for hidden in ("#explore-make", "#header", "#picture", "#generate", "#export-video", "#explore-cancel"):
        expect(frame.locator(hidden)).to_be_hidden()
    cell = frame.locator("#explore-grid .cell").first
    for action in ("promote", "settings", "use-frame", "star"):
        expect(cell.locator(f"[data-action={action}]")).to_be_hidden()


def test_a_vary_button_puts_its_setting_on_an_axis_and_a_fault_stands_at_it(guest: Watched) -> None:
    page = guest.open()
    ready(page)
    unfold(page, "sampling")
    page.locator("#shift button.vary").click()
    expect(page.locator("#explore-axes")).to_be_visible()
    box = page.locator("#axis-values-2 :is(input, textarea)").first
    expect(box).to_have_value("2, 5, 8")
    box.fill("2, 50")
    expect(page.locator("#axis-chips-2")).to_contain_text("shift must be a number from 1 to 10; you sent '50'")
    box.fill("2, 5")
    page.locator("#axis-chips-2 button", has_text="5").click()
    expect(box).to_have_value("2, SKIP: 5")


def test_pictures_of_the_visitors_disk_are_compared_without_one_in_the_form(
    guest: Watched, scripted: ScriptedPage, photo: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (480, 640), "teal").save(other)
    page = guest.open()
    ready(page)
    page.locator("#prompt textarea").fill("The camera pans left.")
    open_tab(page)
    expect(page.locator("#axis-add-0")).to_be_hidden()
    choose_knob(page, 0, "Picture")
    choose_knob(page, 1, "—")
    with page.expect_file_chooser() as chooser:
        page.click("#axis-add-0")
    chooser.value.set_files([photo, other])
    expect(page.locator("#axis-chips-0 button")).to_have_text(["no. 1", "no. 2"])
    expect(page.locator("#explore-line")).to_contain_text("2 clips")
    make_grid(page, 2)
    expect(page.locator("#explore-grid .head.column")).to_have_text(["Picture no. 1", "Picture no. 2"])
    for picture in page.locator("#axis-chips-0 img").all():
        expect(picture).not_to_have_js_property("naturalWidth", 0)
    files = {record.job.files["image_url"] for record in scripted.jobs}
    assert len(files) == 2


def test_a_new_grid_comes_into_sight_and_cancelled_cells_run_again(guest: Watched, photo: Path) -> None:
    page = guest.open()
    ready(page)
    filled(page, photo, "It takes 3 s.")
    open_tab(page)
    choose_knob(page, 0, "Shift")
    page.locator("#axis-knob-1 input").click()
    page.get_by_role("option", name="—", exact=True).click()
    expect(page.locator("#explore-line")).to_contain_text("3 clips")
    page.click("#explore-make")
    expect(page.locator("#explore-grid .cell").last).to_be_in_viewport()
    expect(page.locator("#explore-cancel")).to_be_in_viewport()
    page.click("#explore-cancel")
    expect(page.locator("#explore-retry")).to_be_visible()
    expect(page.locator("#explore-grid .cell[data-state=failed]").first).to_contain_text("Cancelled.")
    page.click("#explore-retry")
    expect(page.locator(DONE)).to_have_count(3, timeout=RUN_MS)
    expect(page.locator("#explore-retry")).to_be_hidden()
