"""A public server says before the click what it does with everybody: checks, its line, and its budget for fal."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Watched, choose, filled, ready, served, set_number, unfold, visiting
from tests.support.scripted_page import ScriptedPage
from wan_core.settings import Settings

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedPage]:
    settings = Settings(force_safety=True).model_copy(update={"server_name": "0.0.0.0"})
    with served(tmp_path_factory, fal="own_key", settings=settings, per_client=True) as page:
        yield page


@pytest.fixture
def guest(browser: Browser, public: ScriptedPage) -> Iterator[Watched]:
    public.forget()
    with visiting(browser, public.home) as fresh:
        yield fresh


def test_a_server_that_checks_everything_ticks_the_box_locks_it_and_says_so(guest: Watched) -> None:
    page = guest.open("?preset=draft&enable_safety_checker=false")
    ready(page)
    unfold(page, "checks")
    box = page.locator("#enable_safety_checker input")
    expect(box).to_be_checked()
    expect(box).to_be_disabled()
    expect(page.locator("#enable_safety_checker")).to_contain_text("cannot be switched off here")
    page.click("button[data-preset=draft]")
    expect(box).to_be_checked()


def test_only_a_machine_of_ones_own_is_called_so(guest: Watched) -> None:
    page = guest.open()
    ready(page)
    expect(page.locator("#header")).to_contain_text("Every parameter of fal's endpoint")
    expect(page.locator("#header")).not_to_contain_text("your own machine")


def test_the_line_is_told_before_the_click(guest: Watched, photo: Path) -> None:
    page = guest.open("?preset=draft")
    ready(page)
    expect(page.locator("#queue-ahead")).to_have_count(0)
    filled(page, photo, "It waits.")
    page.click("#generate")
    expect(page.locator("#status .running")).to_be_visible()
    unfold(page, "frames")
    set_number(page, "num_frames", 21)
    expect(page.locator("#queue-ahead")).to_contain_text("1 job is ahead: at most")
    page.locator("#prompt textarea").fill("")
    page.wait_for_timeout(1100)
    page.click("#generate")
    expect(page.locator("#faults")).to_contain_text("prompt is empty")
    page.click("#cancel")
    expect(page.locator("#status .running")).to_have_count(0)
    expect(page.locator("#queue-ahead")).to_have_count(0)
    expect(page.locator("#faults")).to_contain_text("prompt is empty")


def test_going_to_fal_says_the_price_before_the_click(guest: Watched, photo: Path) -> None:
    page = guest.open("?preset=draft")
    ready(page)
    filled(page, photo)
    unfold(page, "where-it-runs")
    choose(page, "where", "fal")
    page.locator("#where input[value=fal]").check()
    expect(page.locator("#outcome")).to_contain_text("on fal")
    expect(page.locator("#outcome .outcome")).to_contain_text("$")
