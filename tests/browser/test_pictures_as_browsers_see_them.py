"""The picture gate beside a real Chromium: the same files, the same size, the same colours."""

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.intake.corpus import Entry, corpus
from tests.intake.pictures import gate
from tests.intake.test_corpus import TOLERANCE, centres, distance

pytestmark = pytest.mark.browser

SHOWN = """async (file) => {
  const image = new Image();
  const bytes = Uint8Array.from(atob(file), letter => letter.charCodeAt(0));
  image.src = URL.createObjectURL(new Blob([bytes]));
  await new Promise(done => { image.onload = done; image.onerror = done; });
  const [width, height] = [image.naturalWidth, image.naturalHeight];
  if (!width) return null;
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d', {colorSpace: 'srgb'});
  context.fillStyle = 'white';
  context.fillRect(0, 0, width, height);
  context.drawImage(image, 0, 0);
  const [across, down] = width > height ? [3, 2] : [2, 3];
  const colours = [];
  for (let y = 0; y < down; y++) for (let x = 0; x < across; x++) {
    const at = [Math.floor((2 * x + 1) * width / (2 * across)), Math.floor((2 * y + 1) * height / (2 * down))];
    colours.push([...context.getImageData(...at, 1, 1).data.slice(0, 3)]);
  }
  return {size: [width, height], colours};
}"""


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.mark.parametrize("entry", [entry for entry in corpus() if entry.in_chromium], ids=str)
def test_the_gate_and_the_browser_see_the_same(blank: Page, entry: Entry) -> None:
    shown = blank.evaluate(SHOWN, base64.b64encode(entry.content).decode())
    if entry.seen is None:
        assert shown is None
        return
    picture = gate(entry.content)
    seen = tuple(tuple(colour) for colour in shown["colours"])
    assert tuple(shown["size"]) == picture.size == entry.size
    assert distance(centres(picture), seen) <= TOLERANCE
    assert distance([*seen], entry.seen) <= TOLERANCE
