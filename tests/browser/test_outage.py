"""The host is killed and started again: a page that follows a job follows it again, and nobody reloads it."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import RUN_MS, filled, make_short, ready, unfold, visiting
from tests.support.app import free_port, running_app

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
PROMPT = "The camera pans left."
OUTAGE = ("net::ERR", "Connection errored out", "AbortError", "BodyStreamBuffer", "Failed to fetch", "network error")


def test_a_page_follows_its_job_again_after_the_host_was_killed(browser: Browser, tmp_path: Path, photo: Path) -> None:
    port, folders = free_port(), {"GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    with visiting(browser, f"http://127.0.0.1:{port}") as guest:
        with running_app(tmp_path / "data", port, **folders) as app:
            page = guest.open()
            ready(page)
            filled(page, photo, PROMPT)
            make_short(page, steps=12)
            page.click("#generate")
            job = page.locator("#status .panel").get_attribute("data-job", timeout=RUN_MS)
            status = f"{guest.home}/queue/fal-ai/wan/requests/{job}/status"
            while httpx.get(status, timeout=60).json()["status"] == "IN_QUEUE":
                page.wait_for_timeout(50)
            app.process.kill()
            app.process.wait()
        clip = page.locator(f"#player video[data-job='{job}']")
        expect(clip).to_have_count(0)
        with running_app(tmp_path / "data", port, **folders):
            expect(clip).to_be_visible(timeout=RUN_MS)
            expect(page.locator("#prompt textarea")).to_have_value(PROMPT)
            expect(page.locator("#picture img")).to_be_visible()
            unfold(page, "sampling")
            expect(page.locator("#num_inference_steps input[data-testid=number-input]")).to_have_value("12")
            page.close()
        guest.forgive(*OUTAGE)
