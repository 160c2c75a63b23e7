"""Every kind of picture file through the gate, held against what a browser shows of it."""

import numpy as np
import pytest
from PIL import Image

from tests.intake.corpus import Colour, Entry, corpus
from tests.intake.pictures import gate, refusal

TOLERANCE = 4
CORPUS = corpus()


def centres(picture: Image.Image) -> list[tuple[int, ...]]:
    """The colours in the middle of the patches, row by row; 3×2 of them, 2×3 in an upright picture."""
    across, down = (3, 2) if picture.width > picture.height else (2, 3)
    return [
        picture.getpixel(((2 * x + 1) * picture.width // (2 * across), (2 * y + 1) * picture.height // (2 * down)))  # type: ignore[misc]
        for y in range(down)
        for x in range(across)
    ]


def distance(one: list[tuple[int, ...]], other: tuple[Colour, ...]) -> int:
    """The most levels that any channel of any patch is off."""
    return int(np.abs(np.array(one) - np.array(other)).max())


@pytest.mark.parametrize("entry", [entry for entry in CORPUS if entry.seen is not None], ids=str)
def test_a_file_is_seen_as_browsers_see_it(entry: Entry) -> None:
    picture = gate(entry.content)
    assert picture.size == entry.size
    assert entry.seen is not None and distance(centres(picture), entry.seen) <= TOLERANCE


@pytest.mark.parametrize("entry", [entry for entry in CORPUS if entry.seen is None], ids=str)
def test_a_file_that_lacks_half_its_picture_or_is_none_is_refused(entry: Entry) -> None:
    assert refusal(entry.content).type in ("image_load_error", "unsupported_image_format")
