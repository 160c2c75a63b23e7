"""ffmpeg's motion compensation against a texture whose place at every time is known."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from wan_core.errors import BackendError
from wan_core.interpolation import fallback

Frame = NDArray[np.uint8]
SIZE = (96, 144)


@pytest.mark.parametrize(("speed", "gain"), [(10, 12), (24, 12)])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_new_frame_shows_the_texture_where_it_is_at_its_time(
    moving: Callable[..., Callable[[float], Frame]], psnr: Callable[..., float], speed: float, gain: float, count: int
) -> None:
    film = moving(SIZE, speed)
    frames = [film(number) for number in range(6)]
    for start, new in enumerate(fallback.in_betweens(pairwise(frames), count)):
        for number, frame in enumerate(new, 1):
            time = number / (count + 1)
            truth = film(start + time)
            blend = (frames[start] * (1 - time) + frames[start + 1] * time).round().astype(np.uint8)
            assert psnr(frame, truth, 24) > psnr(blend, truth, 24) + gain * min(time, 1 - time)


def test_a_still_picture_stays_as_it_is(moving: Callable[..., Callable[[float], Frame]]) -> None:
    frame = moving(SIZE, 0)(0)
    (new,) = fallback.in_betweens([(frame, frame.copy())], 4)
    assert max(np.abs(one.astype(int) - frame).max() for one in new) <= 3, "YUV and back costs a level or two"


@pytest.mark.parametrize("pairs", [1, 3, 4, 5, 9])
def test_no_pair_is_lost_at_the_end_of_a_run(pairs: int, random_frames: Callable[..., list[Frame]]) -> None:
    frames = random_frames(pairs + 1)
    assert [len(new) for new in fallback.in_betweens(pairwise(frames), 3)] == [3] * pairs


def test_a_dead_ffmpeg_is_an_error(monkeypatch: pytest.MonkeyPatch, random_frames: Callable[..., list[Frame]]) -> None:
    monkeypatch.setattr(fallback, "FILTER", "no_such_filter={rate}")
    with pytest.raises(BackendError, match="ffmpeg"):
        list(fallback.in_betweens(pairwise(random_frames(2)), 1))


def test_an_ffmpeg_that_leaves_frames_out_is_an_error(
    monkeypatch: pytest.MonkeyPatch, random_frames: Callable[..., list[Frame]]
) -> None:
    monkeypatch.setattr(fallback, "FILTER", "fps={rate}/8")
    with pytest.raises(BackendError, match="left some out"):
        list(fallback.in_betweens(pairwise(random_frames(5)), 1))
