"""What is typed into the number boxes, key by key, in a real browser."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import unfold

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def retype(page: Page, field: str, text: str) -> None:
    """Empty the box and type as a visitor would; leave it afterwards."""
    box = page.locator(f"#{field} input[data-testid=number-input]")
    box.click()
    box.press("Control+a")
    box.press("Delete")
    box.press_sequentially(text, delay=120)
    page.wait_for_timeout(600)


def test_out_of_range_and_empty_boxes_get_a_sentence_at_the_field_and_the_estimate_stays(page: Page) -> None:
    unfold(page, "frames")
    field, box = page.locator("#num_frames"), page.locator("#num_frames input[data-testid=number-input]")
    estimate = page.locator("#outcome .outcome").inner_text()
    for text, said in (("8", "you sent 8."), ("", "you sent nothing."), ("4,5", "you sent 4.5.")):
        retype(page, "num_frames", text)
        for place in (field, page.locator("#faults")):
            expect(place).to_contain_text("num_frames must be a whole number from 17 to 161; " + said)
        expect(page.locator("#outcome .outcome")).to_have_text(estimate)
        box.blur()
        page.wait_for_timeout(300)
        expect(box).to_have_value(text.replace(",", "."))
    expect(page.get_by_text("Error", exact=True)).to_have_count(0)

    retype(page, "num_frames", "81")
    expect(page.locator("#faults")).to_be_empty()
    expect(field).not_to_contain_text("must be a whole number from 17 to 161;")
    expect(page.locator("#outcome")).to_contain_text("81")


def test_a_comma_is_a_decimal_point(page: Page) -> None:
    unfold(page, "sampling")
    unfold(page, "fal-request")
    retype(page, "shift", "4,5")
    page.locator("#shift input[data-testid=number-input]").blur()
    expect(page.locator("#snippet-python")).to_contain_text('"shift": 4.5')
    expect(page.locator("#shift input[data-testid=number-input]")).to_have_value("4.5")
    expect(page.locator("#shift input[data-testid=range-input]")).to_have_value("4.5")


def test_arrow_keys_step_within_the_bounds(page: Page) -> None:
    unfold(page, "frames")
    retype(page, "num_frames", "160")
    box = page.locator("#num_frames input[data-testid=number-input]")
    for _ in range(3):
        box.press("ArrowUp")
    expect(box).to_have_value("161")
    expect(page.locator("#outcome")).to_contain_text("161")
