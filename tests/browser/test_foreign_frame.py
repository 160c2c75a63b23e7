"""Another site that frames the page could lay anything over it: there is no field for a secret."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watched, unfold

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture
def blog(watched: Watched, tmp_path: Path) -> Iterator[str]:
    """The address of a page of another origin that frames ours."""
    (tmp_path / "index.html").write_text(
        '<!doctype html><title>Blog</title><link rel="icon" href="data:,">'
        f'<iframe id="wan" width="1000" height="900" src="{watched.home}/"></iframe>'
    )
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_address[1]}"
        watched.friends.append(address)
        yield f"{address}/index.html"
        server.shutdown()


def test_a_frame_of_another_site_shows_no_field_for_a_key_and_says_where_it_is(watched: Watched, blog: str) -> None:
    page = watched.open(address=blog)
    frame = page.frame_locator("#wan")
    expect(frame.locator("#outcome .outcome")).to_be_visible()
    frame.locator("#where-it-runs > button").click()
    expect(frame.locator("#frame-note a")).to_be_visible()
    expect(frame.locator("#fal-key")).to_be_hidden()


def test_the_page_in_a_tab_of_its_own_shows_the_field(page: Page) -> None:
    unfold(page, "where-it-runs")
    expect(page.locator("#fal-key")).to_be_visible()
    expect(page.locator("#frame-note")).to_be_hidden()
