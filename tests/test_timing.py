"""Frames and rate are exactly what was asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.jobs import MOST_FRAMES
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.timing import Timing, timing

MINIMAL = {"image_url": "x", "prompt": "y"}


def times(**values: object) -> Timing:
    return timing(IMAGE_TO_VIDEO.parse(MINIMAL | values))


def test_fals_defaults_give_161_frames_at_32_per_second() -> None:
    assert times() == Timing(81, 81, 161, 32)
    assert times().seconds == pytest.approx(5.03125)


def test_82_frames_are_82_frames() -> None:
    assert times(num_frames=82, interpolator_model="none") == Timing(85, 82, 82, 16)


def test_a_requested_rate_is_the_files_rate_when_it_is_not_adjusted() -> None:
    assert times(adjust_fps_for_interpolation=False, frames_per_second=24).fps == 24


def test_no_interpolator_means_no_new_frames_and_no_faster_rate() -> None:
    assert times(interpolator_model="none", num_interpolated_frames=4) == Timing(81, 81, 81, 16)


@given(
    st.integers(17, MOST_FRAMES),
    st.integers(4, 60),
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from(IMAGE_TO_VIDEO.choices("interpolator_model")),
)
def test_frames_out_follow_the_formula(frames: int, fps: int, between: int, adjust: bool, model: str) -> None:
    found = times(
        num_frames=frames,
        frames_per_second=fps,
        num_interpolated_frames=between,
        adjust_fps_for_interpolation=adjust,
        interpolator_model=model,
    )
    between = 0 if model == "none" else between
    assert found.delivered == frames + (frames - 1) * between
    assert found.fps == fps * (between + 1 if adjust else 1)
    assert found.sampled % 4 == 1 and frames <= found.sampled < frames + 4
