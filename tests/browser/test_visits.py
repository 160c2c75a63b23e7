"""Nothing that a visitor has made or typed is lost by tabs, reloads and failures; several jobs run side by side."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Watched, filled, ready, unfold, until
from tests.support.scripted_page import FAILURE, ScriptedPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
STREAMS = ("AbortError", "Connection errored out", "net::ERR")  # a page was left in the middle of a stream


def opened(guest: Watched) -> Page:
    page = guest.open()
    ready(page)
    return page


def test_two_tabs_keep_each_others_clips(guest: Watched, photo: Path) -> None:
    tabs = [opened(guest), opened(guest)]
    for number, tab in enumerate(tabs):
        filled(tab, photo, f"Clip {number}.")
    for tab in tabs:
        tab.click("#generate")
        expect(tab.locator("#player video")).to_be_visible()
    third = opened(guest)
    expect(third.locator("#strip .card")).to_have_count(2)


def test_a_tab_that_opens_while_the_clip_comes_in_another_shows_it(guest: Watched, photo: Path) -> None:
    first = opened(guest)
    filled(first, photo, "It takes 6 s.")
    first.click("#generate")
    expect(first.locator("#status .running")).to_be_visible()
    held: list[Route] = []

    def hold_back(route: Route) -> None:
        """The second tab's summary of its form: it has read of the job by then, and follows it next."""
        is_summary = route.request.frame.page != first and len(route.request.post_data_json["data"]) > 20
        if is_summary:
            held.append(route)
        else:
            route.continue_()

    guest.context.route("**/gradio_api/run/predict*", hold_back)
    second = guest.open()
    expect(first.locator("#player video")).to_be_visible()
    for _ in range(100):
        if held:
            break
        second.wait_for_timeout(100)
    held[0].continue_()
    guest.context.unroute_all(behavior="ignoreErrors")
    expect(second.locator("#player video")).to_be_visible()


def test_a_reload_keeps_an_unsent_prompt_the_picture_and_a_random_seed(guest: Watched, photo: Path) -> None:
    page = opened(guest)
    filled(page, photo, "First.")
    page.click("#generate")
    expect(page.locator("#player video")).to_be_visible()
    page.locator("#prompt textarea").fill("Not sent yet.")
    page.wait_for_function("JSON.parse(sessionStorage.getItem('wan-2.2-form'))?.form.includes('Not sent yet.')")
    page.reload()
    ready(page)
    guest.forgive(*STREAMS)
    expect(page.locator("#prompt textarea")).to_have_value("Not sent yet.")
    expect(page.locator("#picture img")).to_be_visible()
    unfold(page, "sampling")
    expect(page.locator("#seed input, #seed textarea")).to_have_value("")
    expect(page.locator("#player video")).to_be_visible()


def test_a_failure_stays_after_a_reload_and_can_be_tried_again(
    guest: Watched, scripted: ScriptedPage, photo: Path
) -> None:
    page = opened(guest)
    filled(page, photo, "It fails.")
    page.click("#generate")
    expect(page.locator("#status .failed")).to_contain_text(FAILURE)
    page.reload()
    ready(page)
    guest.forgive(*STREAMS)
    expect(page.locator("#status .failed")).to_contain_text(FAILURE)
    expect(page.locator("#prompt textarea")).to_have_value("It fails.")
    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("#status .failed")).to_be_visible()
    page.wait_for_function("document.title.startsWith('Failed')")
    for _ in range(100):
        if len(scripted.jobs) == 2:
            break
        page.wait_for_timeout(100)
    assert len(scripted.jobs) == 2


def test_a_second_job_waits_beside_the_first_and_each_is_cancelled_alone(
    guest: Watched, scripted: ScriptedPage, photo: Path
) -> None:
    page = opened(guest)
    filled(page, photo, "It waits.")
    page.locator("#generate").press("Enter")
    expect(page.locator("#status .running")).to_have_count(1)
    until(page, "document.activeElement.id", "generate")  # the focus stays on a usable control
    page.wait_for_timeout(1100)
    page.locator("#prompt textarea").fill("It waits, too.")
    page.click("#generate")
    expect(page.locator("#status .running")).to_have_count(2)
    expect(page.locator("#status")).to_contain_text("Next in line")
    page.locator("#status .running").last.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status .running")).to_have_count(1)
    assert sorted(job.status for job in scripted.jobs) == ["cancelled", "running"]
    page.click("#cancel")
    expect(page.locator("#status .running")).to_have_count(0)
    expect(page.locator("#cancel")).to_be_hidden()


def test_the_title_tells_how_far_it_is_and_screen_readers_hear_each_quarter_once(guest: Watched, photo: Path) -> None:
    page = opened(guest)
    filled(page, photo, "It takes 3 s.")
    page.evaluate(
        "window.heard = []; new MutationObserver(() => heard.push(document.querySelector('#announcement').textContent))"
        ".observe(document.querySelector('#announcement'), {childList: true, subtree: true, characterData: true})"
    )
    page.click("#generate")
    page.wait_for_function("document.title.includes('%')")
    expect(page.locator("#player video")).to_be_visible()
    heard = page.evaluate("heard")
    assert 2 <= len(heard) <= 8 and len(set(heard)) == len(heard)
    assert heard[-1] == "Your clip is ready."
