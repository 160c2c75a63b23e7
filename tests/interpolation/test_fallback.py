"""Interpolation by optical flow against pictures whose place at every time is known."""

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from wan_core.interpolation import fallback

Frame = NDArray[np.uint8]
SIZE = (96, 144)


def blend(left: Frame, right: Frame, time: float) -> Frame:
    return np.asarray((left * (1 - time) + right * time).round(), np.uint8)


@pytest.mark.parametrize(("speed", "gain"), [(10, 18), (24, 12)])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_new_frame_shows_the_texture_where_it_is_at_its_time(
    moving: Callable[..., Callable[[float], Frame]], psnr: Callable[..., float], speed: float, gain: float, count: int
) -> None:
    film = moving(SIZE, speed)
    frames = [film(number) for number in range(6)]
    for start, new in enumerate(fallback.in_betweens(pairwise(frames), count)):
        for number, frame in enumerate(new, 1):
            time = number / (count + 1)
            truth, plain = film(start + time), blend(frames[start], frames[start + 1], time)
            assert psnr(frame, truth, 24) > psnr(plain, truth, 24) + gain * min(time, 1 - time)


def test_a_zoom_with_a_turn_is_followed(
    moving: Callable[..., Callable[[float], Frame]], psnr: Callable[..., float]
) -> None:
    picture = moving((240, 320), 0, 6)(0)

    def film(time: float) -> Frame:
        turned = cv2.getRotationMatrix2D((159.5, 119.5), 3 * time, 1.04**time)
        return np.asarray(cv2.warpAffine(picture, turned, (320, 240), flags=cv2.INTER_LANCZOS4), np.uint8)

    ((new,),) = fallback.in_betweens([(film(0), film(1))], 1)
    assert psnr(new, film(0.5), 24) > psnr(blend(film(0), film(1), 0.5), film(0.5), 24) + 12


def test_a_still_picture_stays_as_it_is_to_the_last_bit(moving: Callable[..., Callable[[float], Frame]]) -> None:
    frame = moving(SIZE, 0)(0)
    (new,) = fallback.in_betweens([(frame, frame.copy())], 4)
    assert all(np.array_equal(one, frame) for one in new)


def test_what_stands_still_behind_a_moving_thing_stays_as_it_is_to_the_last_bit(
    moving: Callable[..., Callable[[float], Frame]],
) -> None:
    still, thing = moving((128, 256), 0)(0), moving((40, 40), 0, 6)(0)

    def film(left: int) -> Frame:
        frame = still.copy()
        frame[40:80, left : left + 40] = thing
        return frame

    (new,) = fallback.in_betweens([(film(20), film(26))], 3)
    assert all(np.array_equal(one[:, 110:], still[:, 110:]) for one in new)
    assert not any(np.array_equal(one[40:80, 20:66], film(20)[40:80, 20:66]) for one in new)


def test_frames_that_hardly_move_are_blended(
    moving: Callable[..., Callable[[float], Frame]], psnr: Callable[..., float]
) -> None:
    film = moving(SIZE, 0.2)
    ((new,),) = fallback.in_betweens([(film(0), film(1))], 1)
    assert psnr(new, blend(film(0), film(1), 0.5)) > 55


def test_what_comes_in_at_the_border_is_taken_from_the_frame_that_has_it(
    moving: Callable[..., Callable[[float], Frame]], psnr: Callable[..., float]
) -> None:
    wide = moving((128, 320), 0)(0)
    film = [np.ascontiguousarray(wide[:, left : left + 200]) for left in (60, 66, 72)]
    ((new,),) = fallback.in_betweens([(film[0], film[2])], 1)
    border = np.s_[:, -12:]
    assert psnr(new[border], film[1][border]) > psnr(blend(film[0], film[2], 0.5)[border], film[1][border]) + 4


@pytest.mark.parametrize("size", [(1, 1), (8, 64), (17, 33), (33, 500)])
def test_even_tiny_and_narrow_frames_are_served(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    ((new,),) = fallback.in_betweens([(frames[0], frames[1])], 1)
    assert new.shape == (*size, 3)


@pytest.mark.parametrize("pairs", [1, 3, 4, 5, 9])
def test_every_pair_gets_its_frames(pairs: int, random_frames: Callable[..., list[Frame]]) -> None:
    frames = random_frames(pairs + 1)
    assert [len(new) for new in fallback.in_betweens(pairwise(frames), 3)] == [3] * pairs
