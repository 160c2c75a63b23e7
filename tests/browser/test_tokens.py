"""The count of tokens under the prompts, while a visitor types."""

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ENGLISH = "The camera slowly pushes in."


def test_the_count_follows_what_is_typed_and_warns_above_what_the_model_reads(page: Page) -> None:
    box, line = page.locator("#prompt textarea"), page.locator("#prompt-tokens")
    expect(line).to_be_hidden()
    box.press_sequentially(ENGLISH)
    expect(line).to_have_text("about 10 of 512 tokens")
    box.fill(" ".join([ENGLISH] * 100))
    expect(line).to_contain_text("of 512 tokens: the end may not be read")
    box.fill("")
    expect(line).to_be_hidden()


def test_a_prompt_that_a_button_fills_in_is_counted_too(page: Page) -> None:
    page.locator("#prompt textarea").fill("A cat.")
    before = page.locator("#prompt-tokens").inner_text()
    page.get_by_role("button", name="Push in", exact=True).first.click()
    expect(page.locator("#prompt-tokens")).not_to_have_text(before)


def test_languages_count_by_their_own_writing(page: Page) -> None:
    about = page.evaluate(
        "texts => texts.map(window.wanTokens.about)", ["镜头缓慢推进", "камера медленно приближается", "1234"]
    )
    assert about == [5, 8, 3]
