"""The app is killed while somebody watches their job: the page finds it again when the app is back, by itself."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import RUN_MS, Watched, make_short, ready, upload
from tests.support.app import free_port, running_app

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


def test_an_open_page_outlives_a_kill_of_the_app_and_shows_the_clip(
    browser: Browser, tmp_path: Path, photo: Path
) -> None:
    port, temporary = free_port(), {"GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    with running_app(tmp_path / "data", port, **temporary) as app:
        page = Watched(context, app.home, [], []).open()
        ready(page)
        upload(page, photo)
        page.locator("#prompt textarea").fill("pan left")
        make_short(page, steps=30)
        page.click("#generate")
        expect(page.locator("#status")).to_contain_text("Sampling", ignore_case=True, timeout=RUN_MS)
        app.process.kill()
        app.process.wait()
    page.wait_for_timeout(3000)
    with running_app(tmp_path / "data", port, **temporary):
        expect(page.locator("#player video")).to_be_visible(timeout=RUN_MS)
        expect(page.locator("#prompt textarea")).to_have_value("pan left")
    context.close()
