"""The page in others' pages, from another origin: as an iframe, in a sandbox like Notion's, and as <gradio-app>."""

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gradio
import pytest
from playwright.sync_api import FrameLocator, Locator, Page, expect

from tests.browser.conftest import OPEN_MS, Watched, ready
from tests.support.scripted_page import ScriptedPage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]
NOTION = "allow-scripts allow-popups allow-top-navigation-by-user-activation allow-forms allow-same-origin"
HEAD = """<!doctype html><title>Blog</title><link rel="icon" href="data:,">
<script>heard = []; addEventListener('message', event => {
  if (event.data?.type?.startsWith('wan:')) heard.push(event.data); });
</script>"""


class Blog:
    """A site of another origin that embeds the page."""

    def __init__(self, folder: Path, guest: Watched, address: str) -> None:
        self.folder, self.guest, self.address = folder, guest, address
        guest.friends.append(address)

    def open(self, html: str) -> Page:
        (self.folder / "index.html").write_text(HEAD + html)
        page = self.guest.open("robots.txt")
        page.set_viewport_size({"width": 1000, "height": 1000})
        page.goto(f"{self.address}/index.html?preset=fal_defaults&prompt=the+host's+own")
        return page

    def iframe(self, query: str, more: str = "") -> tuple[Page, FrameLocator]:
        page = self.open(
            f'<iframe id="wan" width="700" height="900" {more} src="{self.guest.home}/?embed=1&{query}"></iframe>'
        )
        return page, page.frame_locator("#wan")


@pytest.fixture
def blog(guest: Watched, tmp_path: Path) -> Iterator[Blog]:
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Blog(tmp_path, guest, f"http://localhost:{server.server_address[1]}")
        server.shutdown()


def fill(embed: FrameLocator | Page, photo: Path, prompt: str) -> None:
    expect(embed.locator("#outcome .outcome:not([data-opening])")).to_be_visible(timeout=OPEN_MS)
    embed.locator("#picture input[type=file]").first.set_input_files(photo)
    expect(embed.locator("#picture img")).to_be_visible()
    embed.locator("#prompt textarea").fill(prompt)
    expect(embed.locator("#outcome")).to_contain_text("×")


def plays(video: Locator) -> None:
    expect(video).to_be_visible()
    video.evaluate("v => v.play()")
    expect(video).to_have_js_property("readyState", 4)


def test_an_embed_names_its_model_shows_previews_and_tells_its_host_how_it_ends(blog: Blog, photo: Path) -> None:
    page, embed = blog.iframe("preset=draft&num_frames=17")
    fill(embed, photo, "It takes 3 s.")
    expect(embed.locator("#embed-line")).to_contain_text("Miniature")
    link = embed.locator("#embed-line a")
    assert "embed" not in (link.get_attribute("href") or "") and link.get_attribute("target") == "_blank"
    embed.locator("#generate").click()
    expect(embed.locator("#preview img")).to_be_visible()
    plays(embed.locator("#player video"))
    page.wait_for_function("heard.some(each => each.type === 'wan:done')")
    page.wait_for_timeout(1100)
    embed.locator("#prompt textarea").fill("It fails.")
    embed.locator("#generate").click()
    page.wait_for_function("heard.some(each => each.type === 'wan:error')")
    heard = page.evaluate("heard")
    assert {each["type"] for each in heard} == {"wan:ready", "wan:height", "wan:done", "wan:error"}
    assert "takes" not in str(heard) and "fails" not in str(heard), "no message carries a prompt"
    done = next(each for each in heard if each["type"] == "wan:done")
    assert done["url"] == f"{blog.guest.home}/files/{done['job']}.mp4"


def test_the_hosts_three_lines_give_the_frame_the_height_of_its_content(blog: Blog) -> None:
    lines = re.search(r"<script>(.*?)</script>", Path("docs/pains.md").read_text("utf-8"), re.DOTALL)
    assert lines
    page, embed = blog.iframe("preset=draft", more='style="border:0"')
    page.add_script_tag(content=lines[1])
    expect(embed.locator("#generate")).to_be_visible()
    page.wait_for_function("heard.length > 1")
    page.evaluate(
        "heard.filter(each => each.type === 'wan:height').slice(-1)"
        ".forEach(each => { document.getElementById('wan').height = each.height; })"
    )  # said before the lines
    frame = page.locator("#wan")
    content = embed.locator(".gradio-container")
    page.wait_for_timeout(500)
    inner, outer = content.bounding_box(), frame.bounding_box()
    assert inner and outer and abs(inner["height"] - outer["height"]) <= 40


def test_a_host_locks_fields_and_shows_parts_that_an_embed_leaves_out(blog: Blog) -> None:
    _, embed = blog.iframe("preset=draft&prompt=Stay&lock=prompt,aspect_ratio&show=examples,chips")
    expect(embed.locator("#prompt textarea")).to_have_value("Stay")
    expect(embed.locator("#prompt")).to_have_attribute("inert", "")
    expect(embed.locator("#examples")).to_be_visible()
    expect(embed.locator("#chips")).to_be_visible()
    expect(embed.locator("#presets")).to_be_hidden()


def test_in_a_sandbox_like_notions_a_clip_is_made_and_its_link_opens_a_tab_of_its_own(blog: Blog, photo: Path) -> None:
    page, embed = blog.iframe("preset=draft&num_frames=17", more=f'sandbox="{NOTION}"')
    fill(embed, photo, "The camera pans left.")
    embed.locator("#generate").click()
    plays(embed.locator("#player video"))
    embed.locator("#facts summary").first.click()  # folded, as on a phone
    with page.context.expect_page() as opened:
        embed.locator("#clip-link").click()
    ready(opened.value)
    assert opened.value.url.startswith(f"{blog.guest.home}/?preset=")
    expect(opened.value.locator("#header")).to_be_visible()
    expect(opened.value.locator("#prompt textarea")).to_have_value("The camera pans left.")
    expect(embed.locator("#player video")).to_be_visible()


def test_as_a_gradio_app_element_it_reads_its_own_address_and_fetches_from_its_own_root(
    blog: Blog, scripted: ScriptedPage, photo: Path
) -> None:
    loader = Path(gradio.__file__).parent / "templates" / "frontend" / "gradio.js"
    script = re.search(r"assets/[\w.-]+\.js", loader.read_text("utf-8"))
    assert script
    home = blog.guest.home
    page = blog.open(
        f'<script type="module" src="{home}/{script[0]}"></script>'
        f'<gradio-app src="{home}/?embed=1&preset=draft&num_frames=17"></gradio-app>'
    )
    fill(page, photo, "The camera pans left.")
    expect(page.locator("#outcome")).to_contain_text("17 ")
    expect(page.locator("#presets")).to_be_hidden()
    page.locator("#generate").click()
    video = page.locator("#player video")
    plays(video)
    expect(video).to_have_attribute("src", re.compile("^" + re.escape(f"{home}/files/")))
    assert scripted.jobs[-1].job.inputs.prompt == "The camera pans left."
    assert page.title() == "Blog" and page.url.startswith(blog.address), "the host's page stays the host's"
    expect(page.locator("#clip-link")).to_have_attribute("href", re.compile("^" + re.escape(f"{home}/?")))
