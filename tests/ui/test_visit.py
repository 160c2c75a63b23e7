"""What a browser remembers is ids, and what it sends back is not believed."""

import uuid

import pytest

from wan_core.ui.visit import Visit

IDS = [str(uuid.UUID(int=number)) for number in range(2)]


@pytest.mark.parametrize(
    "stored", [None, 7, "x", [], {}, {"clip": 3, "jobs": {}}, {"jobs": ["../x"], "clip": ["/etc", None]}]
)
def test_nonsense_from_a_browser_is_an_empty_visit(stored: object) -> None:
    assert Visit.of(stored) == Visit()


def test_a_visit_comes_back_as_it_was_stored() -> None:
    visit = Visit(tuple(IDS[:2]), IDS[1], (IDS[0],))
    assert Visit.of(visit.plain) == visit
