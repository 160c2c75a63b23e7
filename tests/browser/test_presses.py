"""One press is one job, whatever mouse and line do."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Watched, filled, ready
from tests.support.scripted_page import ScriptedPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def form(guest: Watched, photo: Path) -> Page:
    page = guest.open()
    ready(page)
    filled(page, photo, "The camera pans left, and it takes 2 s.")
    return page


def wait_for_clip(page: Page) -> None:
    expect(page.locator("#player video")).to_be_visible()


def test_a_double_click_on_generate_is_one_job(form: Page, scripted: ScriptedPage) -> None:
    form.dblclick("#generate")
    wait_for_clip(form)
    assert len(scripted.jobs) == 1


def test_two_clicks_on_a_slow_line_are_one_job(form: Page, scripted: ScriptedPage) -> None:
    def late(route: Route) -> None:
        form.wait_for_timeout(300)
        route.continue_()

    form.route("**/gradio_api/queue/join*", late)
    form.click("#generate")
    form.wait_for_timeout(250)
    form.evaluate("document.querySelector('#generate').click()")
    form.wait_for_timeout(1500)
    form.unroute_all(behavior="ignoreErrors")
    wait_for_clip(form)
    assert len(scripted.jobs) == 1


def test_a_second_press_after_the_first_clip_is_a_second_job(form: Page, scripted: ScriptedPage) -> None:
    form.click("#generate")
    wait_for_clip(form)
    expect(form.locator("#generate")).to_be_enabled()
    form.click("#generate")
    expect(form.locator("#strip .card")).to_have_count(2)
    assert len(scripted.jobs) == 2


def test_a_press_that_was_refused_can_be_repeated_at_once(guest: Watched, scripted: ScriptedPage, photo: Path) -> None:
    page = guest.open()
    ready(page)
    page.evaluate("() => { const now = performance.now(); performance.now = () => now; }")  # no time passes
    page.click("#generate")
    expect(page.locator("#faults .fault")).to_have_count(2)
    filled(page, photo)
    page.click("#generate")
    wait_for_clip(page)
    assert len(scripted.jobs) == 1
