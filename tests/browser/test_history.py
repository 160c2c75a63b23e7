"""The browser's list of clips and grids, on a static page that plays the server's part."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import until
from tests.browser.grids import CLIPS
from tests.support.grid_page import cell, grid, write_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
IDS = [str(uuid.UUID(int=number)) for number in range(1, 30)]
SERVER = """<div class="wan-history"></div><div id="facts"></div><script>
window.asked = []; window.acted = [];
function answer(items) {
  asked.push(items);
  const known = JSON.parse(document.getElementById('known').textContent);
  const facts = items.map(({id}) => known[id] ?? {id, expired: true});
  const data = document.createElement('data');
  data.dataset.facts = JSON.stringify(facts);
  document.getElementById('facts').replaceChildren(data);
  setTimeout(() => wanExplore.history.learn(document.getElementById('facts')), 20);
}
addEventListener('load', () => wanExplore.history.show(
  document.querySelector('.wan-history'), answer, (kind, id) => acted.push([kind, id])));
</script>"""


def fact(at: int, **changed: Any) -> dict[str, Any]:
    frames, fps = CLIPS["a"]
    about = {"id": IDS[at], "label": f"Guidance: {at}", "prompt": f"prompt {at}", "engine": "Miniature", "src": "a.mp4"}
    about |= {"settings": {"Guidance": str(at), "Shift": "5"}, "changed": ["Guidance"], "fps": fps, "frames": frames}
    return about | changed


def open_history(page: Page, site: tuple[Path, str], facts: list[dict[str, Any]], body: str = "") -> None:
    folder, address = site
    known = json.dumps({each["id"]: each for each in facts}).replace("<", "\\u003c")
    data = f'<script type="application/json" id="known">{known}</script>'
    write_page(folder, body + SERVER + data, "history.html")
    page.goto(f"{address}/history.html")


def remember(page: Page, *at: int) -> None:
    for each in at:
        page.evaluate("id => wanExplore.history.add(id, 'clip')", IDS[each])
        page.wait_for_timeout(5)


def shows(page: Page, *labels: str) -> None:
    expect(page.locator(".strip .card .label")).to_have_text(list(labels))


def test_clips_are_listed_newest_first_and_open(visitor: Page, site: tuple[Path, str]) -> None:
    open_history(visitor, site, [fact(at) for at in range(3)])
    expect(visitor.locator(".wan-history")).to_be_hidden()
    remember(visitor, 0, 1, 2, 1)
    expect(visitor.locator(".strip .card")).to_have_count(3)
    shows(visitor, "Guidance: 2", "Guidance: 1", "Guidance: 0")
    visitor.locator(f"[data-clip='{IDS[1]}']").click()
    until(visitor, "acted", [["clip", IDS[1]]])
    visitor.reload()
    expect(visitor.locator(".strip .card")).to_have_count(3)
    stored = visitor.evaluate("localStorage.getItem('wan-2.2-history')")
    assert "prompt" not in stored and "Guidance" not in stored, "ids only"


def test_the_clip_and_the_grid_on_show_are_remembered_but_not_a_guests(visitor: Page, site: tuple[Path, str]) -> None:
    body = f'<video id="clip" data-job="{IDS[0]}"></video>' + grid(
        [cell(IDS[1], (0, 0, 0), clip="a.mp4", fps=16, frames=33)]
    ).replace('data-sweep="sweep"', f'data-sweep="{IDS[2]}"')
    facts = [fact(0), fact(1), fact(2, label="Steps × Guidance: 9 clips", settings={}, src="")]
    open_history(visitor, site, facts, body)
    expect(visitor.locator(".strip .card")).to_have_count(2)
    visitor.locator(f"[data-sweep='{IDS[2]}'].open").click()
    until(visitor, "acted", [["sweep", IDS[2]]])
    visitor.goto(f"{site[1]}/a.mp4")
    visitor.evaluate("localStorage.clear()")
    visitor.goto(f"{site[1]}/history.html?show=x")
    expect(visitor.locator(".strip .card")).to_have_count(1)


def test_filters_stars_and_expired_clips(visitor: Page, site: tuple[Path, str]) -> None:
    facts = [fact(0), fact(1, engine="Wan 2.2 A14B", changed=["Shift"]), fact(2, prompt="A dragon <b>roars</b>")]
    open_history(visitor, site, facts)
    remember(visitor, 0, 1, 2, 3)
    cards = visitor.locator(".strip .card")
    expect(cards).to_have_count(4)
    expect(cards.first).to_contain_text("Expired: no longer kept here")
    expect(cards.first.locator(".open")).to_be_disabled()
    visitor.locator("[data-filter=text]").fill("dragon <b>")
    expect(cards).to_have_count(1)
    visitor.locator("[data-filter=text]").fill("guidance 1")
    expect(cards).to_have_count(1)
    visitor.locator("[data-filter=text]").fill("nothing of the kind")
    expect(visitor.locator(".none")).to_have_text("Nothing matches this filter.")
    visitor.locator("[data-filter=text]").fill("")
    visitor.locator("[data-filter=field]").select_option("Shift")
    expect(cards).to_have_count(1)
    visitor.locator("[data-filter=field]").select_option("")
    visitor.locator("[data-filter=engine]").select_option("Wan 2.2 A14B")
    expect(cards).to_have_count(1)
    visitor.locator("[data-filter=engine]").select_option("")
    cards.nth(2).locator("[data-do=star]").click()
    visitor.locator("[data-filter=starred]").check()
    expect(cards).to_have_count(1)
    shows(visitor, "Guidance: 1")


def test_deleted_clips_stay_away_and_stars_survive_the_sweep(visitor: Page, site: tuple[Path, str]) -> None:
    open_history(visitor, site, [fact(at) for at in range(3)], f'<video id="clip" data-job="{IDS[0]}"></video>')
    remember(visitor, 1, 2)
    cards = visitor.locator(".strip .card")
    expect(cards).to_have_count(3)
    visitor.locator(f".card[data-id='{IDS[0]}'] [data-do=delete]").click()
    expect(cards).to_have_count(2)
    visitor.reload()
    expect(cards).to_have_count(2)
    visitor.locator(f".card[data-id='{IDS[1]}'] [data-do=star]").click()
    visitor.once("dialog", lambda dialog: dialog.accept())
    visitor.locator("[data-do=clear]").click()
    expect(cards).to_have_count(1)
    shows(visitor, "Guidance: 1")
    visitor.evaluate("localStorage.setItem('wan-2.2-visit', 'x')")
    visitor.evaluate("document.getElementById('clip').remove()")
    visitor.once("dialog", lambda dialog: dialog.accept())
    visitor.locator("[data-do=forget]").click()
    visitor.wait_for_function("localStorage.getItem('wan-2.2-visit') === null")


def test_two_tabs_merge_by_id_and_never_write_back_an_old_copy(visitor: Page, site: tuple[Path, str]) -> None:
    open_history(visitor, site, [fact(at) for at in range(4)])
    remember(visitor, 0)
    other = visitor.context.new_page()
    other.goto(visitor.url)
    expect(other.locator(".strip .card")).to_have_count(1)
    remember(visitor, 1)
    remember(other, 2)
    for tab in (visitor, other):
        expect(tab.locator(".strip .card")).to_have_count(3)
    visitor.locator(f".card[data-id='{IDS[0]}'] [data-do=delete]").click()
    expect(other.locator(".strip .card")).to_have_count(2)
    remember(other, 3, 0)
    for tab in (visitor, other):
        shows(tab, "Guidance: 3", "Guidance: 2", "Guidance: 1")


def test_starred_ones_are_kept_longest(visitor: Page, site: tuple[Path, str]) -> None:
    open_history(visitor, site, [])
    kept = visitor.evaluate("""() => {
      const id = number => `00000000-0000-0000-0000-${String(number).padStart(12, '0')}`;
      for (let number = 0; number < 250; number++) {
        wanExplore.history.add(id(number), 'clip');
        if (number === 3) wanExplore.history.star(id(3), 'clip', true);
      }
      return wanExplore.history.items.map(item => item.id.slice(-3));
    }""")
    assert len(kept) == 200 and "003" in kept and "004" not in kept and "249" in kept


def test_nonsense_in_the_storage_is_an_empty_list(visitor: Page, site: tuple[Path, str]) -> None:
    open_history(visitor, site, [fact(0)])
    for stored in ("{", "null", '{"items": 3}', '{"items": [null, {"id": "<b>", "kind": "clip", "at": 1}]}'):
        visitor.evaluate("text => localStorage.setItem('wan-2.2-history', text)", stored)
        visitor.reload()
        assert visitor.evaluate("wanExplore.history.items") == []
    remember(visitor, 0)
    expect(visitor.locator(".strip .card")).to_have_count(1)


def test_two_clips_of_the_list_are_compared_and_name_what_differs(visitor: Page, site: tuple[Path, str]) -> None:
    open_history(visitor, site, [fact(at) for at in range(3)])
    remember(visitor, 0, 1, 2)
    for at in (0, 2):
        visitor.locator(f"[data-compare='{IDS[at]}']").check()
    expect(visitor.locator(".wan-compare figcaption")).to_have_text(["Guidance 0", "Guidance 2"])
    visitor.wait_for_function("[...document.querySelectorAll('.wan-compare video')].every(v => v.currentTime > 0.1)")
    times = visitor.evaluate("[...document.querySelectorAll('.wan-compare video')].map(v => v.currentTime)")
    assert abs(times[0] - times[1]) <= 1 / 16
    visitor.locator(".compare-tools [data-do=close]").click()
    expect(visitor.locator(".transport")).to_have_count(0)
    expect(visitor.locator("[data-compare]:checked")).to_have_count(0)


def test_a_star_on_a_cell_is_a_star_in_the_list(visitor: Page, site: tuple[Path, str]) -> None:
    open_history(visitor, site, [fact(1)], grid([cell(IDS[1], (0, 0, 0), clip="a.mp4", fps=16, frames=33)]))
    star = visitor.locator(".cell [data-action=star]")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(visitor.locator(".strip [data-do=star]")).to_have_attribute("aria-pressed", "true")
    visitor.locator(".strip [data-do=star]").click()
    expect(star).to_have_attribute("aria-pressed", "false")
