"""Takes the pictures of the page in this folder: `python docs/screenshots/take.py http://127.0.0.1:7860`.

Needs a running app without a GPU on loopback, Playwright and Chromium. Two clips are made on the way, so it takes a
minute or two.
"""

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

HERE = Path(__file__).parent
DESKTOP, LAPTOP, PHONE = (1280, 900), (1366, 768), (390, 844)
RUN_MS, LOAD_MS = 600_000, 120_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    address = parser.parse_args().address
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        for theme in ("light", "dark"):
            for size in (DESKTOP, LAPTOP, PHONE):
                with opened(browser, f"{address}/?__theme={theme}", size) as page:
                    choose(page, example=0)
                    page.wait_for_timeout(6000)
                    page.evaluate("scrollTo(0, 0)")
                    page.screenshot(path=HERE / f"{size[0]}-{theme}.png", full_page=size != LAPTOP)
        take_a_visit(browser, address)
        browser.close()


def take_a_visit(browser: Browser, address: str) -> None:
    """Make two clips, photographing the settings, the run and the comparison."""
    with opened(browser, f"{address}/?__theme=light", DESKTOP) as page:
        make(page, example=0, steps=12)
        page.click("#generate")
        expect(page.locator("#preview img")).to_be_visible(timeout=RUN_MS)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(300)
        page.screenshot(path=HERE / "running.png")
        expect(page.locator("#strip .card")).to_have_count(1, timeout=RUN_MS)
        make(page, example=1, steps=12)
        page.click("#generate")
        expect(page.locator("#strip .card")).to_have_count(2, timeout=RUN_MS)
        for section in ("sampling", "frames", "encoding", "checks", "where-it-runs", "fal-request"):
            unfold(page, section)
        page.wait_for_timeout(800)
        page.screenshot(path=HERE / "everything.png", full_page=True)
        for box in page.locator("#strip .card input[type=checkbox]").all():
            box.check()
        page.wait_for_timeout(1200)
        page.locator("#strip").screenshot(path=HERE / "comparison.png")


def make(page: Page, example: int, steps: int) -> None:
    """An example in 17 frames, cropped to a square where it is the first."""
    choose(page, example)
    unfold(page, "sampling")
    unfold(page, "frames")
    for field, value in (("num_frames", 17), ("num_inference_steps", steps)):
        box = page.locator(f"#{field} input[data-testid=number-input]")
        box.fill(str(value))
        box.blur()
    if example == 0:
        page.locator("#aspect_ratio label", has_text="1:1").click()
    unfold(page, "sampling", folded=True)
    unfold(page, "frames", folded=True)
    page.wait_for_timeout(1000)


def choose(page: Page, example: int) -> None:
    page.locator("#examples button").nth(example).click()
    expect(page.locator("#picture img")).to_be_visible()


def unfold(page: Page, section: str, *, folded: bool = False) -> None:
    if (page.locator(f"#{section} button.open").count() == 0) != folded:
        page.locator(f"#{section} > button").click()


@contextmanager
def opened(browser: Browser, address: str, size: tuple[int, int]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    page.goto(address, timeout=LOAD_MS)
    expect(page.locator("#outcome .outcome:not([data-opening])")).to_be_visible(timeout=LOAD_MS)
    if size != LAPTOP:  # it would float over a picture of the whole page
        page.add_style_tag(content="#go { position: static !important }")
    yield page
    context.close()


if __name__ == "__main__":
    main()
