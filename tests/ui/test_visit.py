"""What a browser remembers is ids, and what it sends back is not believed."""

import uuid

import pytest

from wan_core.ui.visit import KEPT, Visit

IDS = [str(uuid.UUID(int=number)) for number in range(12)]


@pytest.mark.parametrize(
    "stored", [None, 7, "x", [], {}, {"clips": 3, "job": {}}, {"job": "../x", "clips": ["/etc", None]}]
)
def test_nonsense_from_a_browser_is_an_empty_visit(stored: object) -> None:
    assert Visit.of(stored) == Visit()


def test_a_visit_comes_back_as_it_was_stored() -> None:
    visit = Visit(IDS[0], IDS[1], tuple(IDS[1:3]))
    assert Visit.of(visit.plain) == visit


def test_the_strip_keeps_the_last_eight_clips_each_once() -> None:
    visit = Visit()
    for clip in [*IDS, IDS[-1]]:
        visit = visit.with_clip(clip)
    assert visit.clips == tuple(IDS[-KEPT:]) and visit.clip == IDS[-1]
