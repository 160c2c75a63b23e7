"""The page as a German and a Japanese browser show it, from the first screen to a finished clip and a grid."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import RUN_MS, filled, visiting
from tests.support.scripted_page import ScriptedPage
from wan_core.ui.languages import sentences

pytestmark = pytest.mark.browser
PLACES_AND_SIZES = [("de-DE", 1280), ("de-DE", 390), ("ja-JP", 390)]


def english_left(page: Page, language: str) -> set[str]:
    """The English sentences that stand on the page now, and are said otherwise in this language."""
    otherwise = {english for english, said in sentences(language).items() if english != said}
    lines = page.evaluate("document.body.innerText").splitlines()
    return {line.strip() for line in lines} & otherwise


def width(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


@pytest.mark.parametrize(("locale", "wide"), PLACES_AND_SIZES)
def test_a_visitor_makes_a_clip_in_their_own_language(
    browser: Browser, scripted: ScriptedPage, photo: Path, locale: str, wide: int
) -> None:
    scripted.forget()
    language = locale.partition("-")[0]
    said = sentences(language)
    with visiting(browser, scripted.home, locale=locale, viewport={"width": wide, "height": 844}) as guest:
        page = guest.open()
        expect(page.locator("#generate")).to_have_text(said["Generate"])
        expect(page.locator("#outcome")).to_contain_text(said["size follows the picture"])
        expect(page.locator(".vary").first).to_have_text(said["Vary"])
        assert english_left(page, language) == set()
        assert width(page) <= wide

        page.locator("#generate").click()
        expect(page.locator("#faults")).to_contain_text(
            said["Add a picture first: drop one into the box, paste it, or give its web address."]
        )
        assert english_left(page, language) == set()

        filled(page, photo)
        expect(page.locator("#picture-check")).to_contain_text(said["What the engine will see"])
        expect(page.locator("#faults")).to_be_empty()
        page.locator("#generate").click()
        expect(page.locator("#player video")).to_be_visible(timeout=RUN_MS)
        expect(page.locator("#download")).to_contain_text(said["Download mp4"])
        expect(page.locator("#strip h3")).to_have_text(said["Your clips and grids"])
        assert english_left(page, language) == set()
        assert width(page) <= wide

        page.get_by_role("tab").nth(1).click()
        expect(page.locator("#explore-make")).to_have_text(said["Make the grid"])
        page.locator("#explore-make").click()
        expect(page.locator(".transport")).to_contain_text(said["Speed"], timeout=RUN_MS)
        assert english_left(page, language) == set()
        assert width(page) <= wide


def test_a_language_that_is_not_there_is_english(browser: Browser, scripted: ScriptedPage) -> None:
    with visiting(browser, scripted.home, locale="nl-NL") as guest:
        expect(guest.open().locator("#generate")).to_have_text("Generate")
