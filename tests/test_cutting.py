"""Trim, loop and boomerang, against what is written out by hand."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.support.jobs import a_request
from wan_core import cutting
from wan_core.cutting import Cut
from wan_core.errors import InputError
from wan_core.frames import Frames


def numbered(count: int) -> Frames:
    """Frame number n is of the grey n."""
    return np.stack([np.full((2, 2, 3), number, np.uint8) for number in range(count)])


def shown(count: int, ending: cutting.Ending, between: int = 0) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in cutting.arrange(numbered(count), ending, between)]


def test_a_boomerang_goes_back_without_showing_either_end_twice() -> None:
    assert shown(5, "boomerang") == [0, 1, 2, 3, 4, 3, 2, 1]


def test_a_clip_that_stops_is_as_it_was() -> None:
    assert shown(5, "stop") == [0, 1, 2, 3, 4]


def test_a_loop_fades_its_end_into_its_beginning_and_repeats_with_steps_no_larger_than_a_fade_takes() -> None:
    loop = shown(100, "loop")
    assert loop[:84] == list(range(8, 92)), "the middle is untouched"
    assert loop[84:] == [round(((9 - step) * (91 + step) + step * (step - 1)) / 9) for step in range(1, 9)]
    assert max(abs(after - before) for before, after in pairwise([*loop, loop[0]])) <= 99 / 9
    assert max(abs(after - before) for before, after in pairwise([*range(100), 0])) == 99, "without it, a jump"


@pytest.mark.parametrize("ending", ["stop", "loop", "boomerang"])
@pytest.mark.parametrize("between", [0, 3])
def test_the_number_of_shown_frames_is_known_before(ending: cutting.Ending, between: int) -> None:
    for count in (4, 5, 17, 161):
        assert len(shown(count, ending, between)) == cutting.shown_frames(count, ending, between)


@pytest.mark.parametrize("ending", ["stop", "loop", "boomerang"])
def test_a_shown_frame_leads_back_to_the_kept_one_that_it_is(ending: cutting.Ending) -> None:
    request, cut = a_request(num_frames=33, num_interpolated_frames=1), Cut(5, 24, ending)
    clip = shown(cutting.delivered(request, cut), ending, 1)
    found = [cutting.kept_frame(request, cut, at) for at in range(len(clip))]
    exact = [(number, kept) for number, (kept, is_kept) in zip(clip, found, strict=True) if is_kept]
    assert exact and all(number == 2 * (kept - 5) for number, kept in exact)
    assert all(5 <= kept <= 24 for kept, _ in found)


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"first_frame": 0}, "first_frame", "a whole number from 1 to 17"),
        ({"first_frame": "two"}, "first_frame", "a whole number from 1 to 17"),
        ({"last_frame": 18}, "last_frame", "a whole number from 1 to 17"),
        ({"first_frame": 9, "last_frame": 4}, "first_frame", "after last_frame, which is 4"),
        ({"first_frame": 16, "ending": "loop"}, "last_frame", "at least 4 frames; from 16 to 17 there are 2"),
        ({"ending": "explode"}, "ending", "stop, loop, boomerang"),
    ],
)
def test_what_cannot_be_cut_is_said_with_its_limit(values: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        cutting.parse(values, 17)
    assert caught.value.field == field


def test_naming_the_last_frame_there_is_is_no_trim() -> None:
    assert cutting.parse({"first_frame": 1, "last_frame": 17}, 17) == cutting.WHOLE
