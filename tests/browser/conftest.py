"""The real app in a process of its own, and a real Chromium that reports every error and every stray request."""

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.browser.grids import CLIPS
from tests.support.app import running_app
from tests.support.grid_page import counted_clip
from tests.support.scripted_page import ScriptedPage, scripted_page
from tests.support.serving import serving
from wan_core.files import FileStore

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RUN_MS = 240_000  # a clip of the miniature on a busy machine
SOON_MS = 20_000
OPEN_MS = 60_000  # a page on a busy machine
expect.set_options(timeout=SOON_MS)


def chromium() -> str:
    """The browser's path; its absence fails in CI and skips elsewhere."""
    path = shutil.which("chromium")
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("chromium is missing")
    if path is None:
        pytest.skip("chromium is not installed")
    return path


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `python app.py` on a fresh data folder."""
    folder = tmp_path_factory.mktemp("app")
    with running_app(folder / "data", GRADIO_TEMP_DIR=str(folder / "gradio")) as started:
        yield started.home


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedPage]:
    """The page of a laptop with a fal key, over a scripted engine: clips at once, or as slow as the prompt says."""
    with served(tmp_path_factory, fal="open") as page:
        yield page


@contextmanager
def served(tmp_path_factory: pytest.TempPathFactory, **options: Any) -> Iterator[ScriptedPage]:
    folder = tmp_path_factory.mktemp("scripted")
    data = FileStore(folder / "data")
    data.root.mkdir()
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Gradio and its loops, in a thread of their own
        patched.setenv("GRADIO_TEMP_DIR", str(folder / "gradio"))
        with scripted_page(data, **options) as page:
            yield page


@dataclass
class Watched:
    """A context whose pages' errors and stray requests are written down."""

    context: BrowserContext
    home: str
    faults: list[str]
    friends: list[str]

    def open(self, query: str = "", address: str | None = None) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(SOON_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("request", self._request)
        page.goto(address or f"{self.home}/{query}")
        return page

    def forgive(self, *said: str) -> None:
        """Forget faults with these words: what the browser and Gradio's client log of something that was meant."""
        self.faults[:] = [fault for fault in self.faults if not any(words in fault for words in said)]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} {message.location.get('url', '')}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.home, "data:", "blob:", *self.friends)):
            self.faults.append(f"left the machine: {request.url}")


@pytest.fixture
def watched(browser: Browser, app: str) -> Iterator[Watched]:
    """A fresh visitor at a desktop; no page of theirs may report an error or ask another host."""
    with visiting(browser, app) as fresh:
        yield fresh


@pytest.fixture
def guest(browser: Browser, scripted: ScriptedPage) -> Iterator[Watched]:
    """As `watched`, at the scripted page, whose earlier jobs are forgotten."""
    scripted.forget()
    with visiting(browser, scripted.home) as fresh:
        yield fresh


@contextmanager
def visiting(browser: Browser, home: str, **options: Any) -> Iterator[Watched]:
    context = browser.new_context(
        **{"viewport": {"width": 1280, "height": 900}, "permissions": ["clipboard-read", "clipboard-write"]} | options
    )
    fresh = Watched(context, home, [], [])
    yield fresh
    context.close()
    assert fresh.faults == []


def filled(page: Page, photo: Path, prompt: str = "The camera pans left.") -> None:
    """A picture and a prompt."""
    upload(page, photo)
    page.locator("#prompt textarea").fill(prompt)


@pytest.fixture
def page(watched: Watched) -> Page:
    opened = watched.open()
    ready(opened)
    return opened


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A wide picture, so that square and upright videos crop it."""
    path = tmp_path / "photo.jpg"
    Image.linear_gradient("L").convert("RGB").resize((800, 450)).save(path)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with the clips, served with ranges, and its address."""
    folder = tmp_path_factory.mktemp("site")
    for name, (frames, fps) in CLIPS.items():
        counted_clip(folder / f"{name}.mp4", frames, fps)
    with serving(Starlette(routes=[Mount("/", StaticFiles(directory=folder))])) as address:
        yield folder, address


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    """A page at a desktop; it may report no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.set_default_timeout(20_000)
    yield page
    context.close()
    assert faults == []


def ready(page: Page) -> None:
    """Until the page's first events are over: the line says what will come out."""
    expect(page.locator("#outcome .outcome:not([data-opening])")).to_be_visible(timeout=OPEN_MS)


def upload(page: Page, photo: Path) -> None:
    page.locator("#picture input[type=file]").first.set_input_files(photo)
    expect(page.locator("#picture img")).to_be_visible()
    expect(page.locator("#outcome")).to_contain_text("×")


def until(page: Page, script: str, value: Any = True) -> None:
    """Wait until the script's value is this one: what a page shows follows what was done to it a little later."""
    wanted = json.dumps(value, separators=(",", ":"))
    page.wait_for_function(f"wanted => JSON.stringify({script}) === wanted", arg=wanted)


def set_number(page: Page, field: str, value: float) -> None:
    """Type a number. A field whose section has just been opened may still be settling: it is typed again then."""
    box, slider = (page.locator(f"#{field} input[data-testid={kind}-input]") for kind in ("number", "range"))
    for _ in range(5):
        box.fill(str(value))
        box.blur()
        page.wait_for_timeout(250)
        if float(slider.input_value()) == value == float(box.input_value()):
            return


def choose(page: Page, field: str, word: str) -> None:
    page.locator(f"#{field} label", has_text=word).filter(has_text=word).first.click()


def unfold(page: Page, section: str) -> None:
    """Open a section if it is closed, and let it settle: what is typed while it is built can be lost."""
    if page.locator(f"#{section} button.open").count() == 0:
        page.locator(f"#{section} > button").click()
        page.wait_for_timeout(500)


def make_short(page: Page, frames: int = 17, steps: int = 2) -> None:
    """Few frames and steps: a clip in seconds. What a preset adds between the frames stays."""
    unfold(page, "sampling")
    unfold(page, "frames")
    set_number(page, "num_frames", frames)
    set_number(page, "num_inference_steps", steps)
    expect(page.locator("#outcome")).to_contain_text(f"{frames} ")


def generate(page: Page) -> str:
    """Press Generate and wait for the clip; its job's id."""
    before = page.locator("#player video").get_attribute("data-job") if page.locator("#player video").count() else ""
    page.click("#generate")
    clip = page.locator(f"#player video:not([data-job='{before}'])")
    expect(clip).to_be_visible(timeout=RUN_MS)
    job = clip.get_attribute("data-job")
    assert job
    return job


def facts_of_video(page: Page, selector: str = "#player video") -> dict[str, float]:
    """Size, duration and position of a playing video, once it has moved."""
    page.wait_for_function(
        "selector => { const v = document.querySelector(selector); return v?.readyState >= 2 && v.currentTime > 0 }",
        arg=selector,
    )
    found: dict[str, float] = page.evaluate(
        "selector => { const v = document.querySelector(selector);"
        " return {width: v.videoWidth, height: v.videoHeight, seconds: v.duration, error: v.error ? 1 : 0} }",
        selector,
    )
    return found
