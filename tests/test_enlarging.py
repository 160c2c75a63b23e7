"""Enlarging with the picture against true camera moves over a large scene, seen small as a model would draw them."""

from collections.abc import Callable, Iterator
from itertools import count as numbers
from itertools import islice, pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wan_core import encoding
from wan_core.enlarging import enlarge_plainly, enlarge_with_picture, windows
from wan_core.geometry import Size, rendered_size

Frame = NDArray[np.uint8]
Camera = Callable[[int], tuple[float, float, float]]
"""time → (right, down, growth) of the content, in pixels of the large picture."""

SIZE = Size(416, 240)
LOW = rendered_size(SIZE, 4)  # 112 × 64, of which the encoder keeps 110.9 × 64
SEEN = (420, 240)  # what those 112 × 64 pixels show


def scene(seed: int) -> Frame:
    """Shapes, textures and lines of all sizes, larger than the picture."""
    random = np.random.default_rng(seed)
    picture = np.zeros((360, 560, 3), np.float32) + 110
    for cell, height in ((90, 60), (30, 30), (10, 18), (4, 12)):
        noise = random.uniform(-1, 1, (360 // cell + 2, 560 // cell + 2, 3)).astype(np.float32)
        picture += height * cv2.resize(noise, (560, 360), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        a, b = random.integers(0, 560, 2), random.integers(0, 360, 2)
        colour = random.integers(0, 255, 3).tolist()
        cv2.line(picture, (int(a[0]), int(b[0])), (int(a[1]), int(b[1])), colour, 2, cv2.LINE_AA)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def view(whole: Frame, right: float, down: float, growth: float, size: tuple[int, int]) -> Frame:
    """The middle of the scene after the move."""
    middle = ((whole.shape[1] - 1) / 2, (whole.shape[0] - 1) / 2)
    moved = cv2.getRotationMatrix2D(middle, 0, growth)
    moved[:, 2] += (size[0] - 1) / 2 - middle[0] + right, (size[1] - 1) / 2 - middle[1] + down
    return np.asarray(cv2.warpAffine(whole, moved, size, flags=cv2.INTER_LANCZOS4), np.uint8)


def large(whole: Frame, camera: Camera, time: int) -> Frame:
    return view(whole, *camera(time), (SIZE.width, SIZE.height))


def small(whole: Frame, camera: Camera, time: int) -> Frame:
    """What a model would draw: with the excess around, and soft."""
    low = cv2.resize(view(whole, *camera(time), SEEN), (LOW.width, LOW.height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(low, (0, 0), 0.6), np.uint8)


def still(time: int) -> tuple[float, float, float]:
    return 0, 0, 1


MOVES: dict[str, Camera] = {
    "pan": lambda time: (1.5 * time, 0, 1),
    "tilt": lambda time: (0, -1.0 * time, 1),
    "push in": lambda time: (0, 0, 1 + 0.006 * time),
    "pull back": lambda time: (0, 0, 1 - 0.004 * time),
    "drift": lambda time: (0.02 * time**2, 0.01 * time**2, 1 + 0.003 * time),
}


def psnr(a: Frame, b: Frame) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, float(np.square(a.astype(float) - b).mean()))))


def detail(frame: Frame) -> float:
    return float(np.abs(np.diff(frame.astype(float), axis=1)).mean())


def difference(a: Frame, b: Frame) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def enlarged(clip: list[Frame], picture: Frame) -> list[Frame]:
    return list(enlarge_with_picture(iter(clip), picture))


SLOW_MOVES = [pytest.param(move, marks=pytest.mark.slow) for move in ("tilt", "pull back")]


@pytest.mark.parametrize("move", ["pan", "push in", "drift", *SLOW_MOVES])
def test_a_moving_camera_shows_the_pictures_own_detail(move: str) -> None:
    whole, camera, inner = scene(1), MOVES[move], np.s_[40:-40, 50:-50]
    clip = [small(whole, camera, time) for time in range(21)]
    film = enlarged(clip, large(whole, still, 0))
    for time in (5, 12, 20):
        truth = large(whole, camera, time)[inner]
        assert psnr(film[time][inner], truth) > psnr(enlarge_plainly(clip[time], SIZE)[inner], truth) + 6


def test_the_first_frame_is_the_picture() -> None:
    whole = scene(2)
    picture = large(whole, still, 0)
    film = enlarged([small(whole, MOVES["pan"], time) for time in range(9)], picture)
    assert difference(film[0], picture) < 1


def test_a_still_clip_is_the_picture_throughout() -> None:
    whole = scene(3)
    picture = large(whole, still, 0)
    film = enlarged([small(whole, still, 0)] * 6, picture)
    assert all(difference(frame, picture) < 0.2 for frame in film)


def test_a_border_that_comes_in_shows_what_the_model_drew() -> None:
    whole, camera = scene(4), MOVES["pan"]
    clip = [small(whole, camera, time) for time in range(25)]
    last = enlarged(clip, large(whole, still, 0))[-1]
    plain = enlarge_plainly(clip[-1], SIZE)
    assert difference(last[:, :20], plain[:, :20]) < 3, "36 pixels came in at the left"
    assert difference(last[:, 80:], plain[:, 80:]) > 5


def test_another_scene_is_enlarged_plainly() -> None:
    first, second = scene(5), 255 - scene(6)
    clip = [small(first, still, 0)] * 12 + [small(second, still, 0)] * 8
    film = enlarged(clip, large(first, still, 0))
    for frame, low in list(zip(film, clip, strict=True))[12:]:
        plain = enlarge_plainly(low, SIZE)
        assert difference(frame, plain) < 0.1 * difference(film[0], plain)
    assert difference(film[4], film[0]) < 0.2, "steadying reaches no farther than seven frames"


@pytest.mark.parametrize("move", ["pan", pytest.param("push in", marks=pytest.mark.slow)])
def test_a_clip_that_the_model_drew_blurrier_stays_blurrier(move: str) -> None:
    whole = scene(7)
    sharp = [small(whole, MOVES[move], time) for time in range(16)]
    blurred = [
        np.asarray(cv2.GaussianBlur(low, (0, 0), 0.01 + 0.12 * time), np.uint8) for time, low in enumerate(sharp)
    ]
    films = [enlarged(clip, large(whole, still, 0)) for clip in (sharp, blurred)]
    details = [[detail(film[time]) for time in (4, 8, 15)] for film in films]
    assert details[1][0] > details[1][1] > details[1][2]
    assert details[1][2] < 0.6 * details[0][2]


def test_a_frame_that_is_a_little_worse_than_its_neighbours_does_not_flicker() -> None:
    whole = scene(8)
    low, noise = small(whole, still, 0), np.random.default_rng(0)
    worse = np.asarray(cv2.GaussianBlur(low, (0, 0), 0.6), np.uint8)
    clip = [low if time % 2 else np.clip(worse + noise.normal(0, 2, low.shape), 0, 255).astype(np.uint8)
            for time in range(1, 14)]  # fmt: skip
    film = enlarged(clip, large(whole, still, 0))
    plain = [enlarge_plainly(frame, SIZE) for frame in clip]
    assert max(difference(a, b) for a, b in pairwise(film[3:])) < 1
    assert min(difference(a, b) for a, b in pairwise(plain[3:])) > 1.5


@pytest.mark.parametrize("size", [pytest.param(Size(832, 480), marks=pytest.mark.slow), Size(208, 120), Size(160, 92)])
def test_a_picture_of_any_size_guides_a_clip_of_that_size(size: Size) -> None:
    whole, camera = scene(9), MOVES["pan"]
    picture = np.asarray(cv2.resize(large(whole, still, 0), (size.width, size.height), interpolation=cv2.INTER_AREA))
    film = enlarged([small(whole, camera, time) for time in range(6)], np.asarray(picture, np.uint8))
    assert {frame.shape for frame in film} == {(size.height, size.width, 3)}
    assert {frame.dtype for frame in film} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("frames", [0, 1, 2, 5, 12])
def test_no_frame_is_lost_or_added(frames: int) -> None:
    whole = scene(10)
    clip = [small(whole, MOVES["tilt"], time) for time in range(frames)]
    assert len(enlarged(clip, large(whole, still, 0))) == frames


def test_it_looks_a_few_frames_ahead_and_never_at_the_whole_clip() -> None:
    whole, taken = scene(11), []

    def endless() -> Iterator[Frame]:
        for time in numbers():
            taken.append(time)
            yield small(whole, still, time)

    film = enlarge_with_picture(endless(), large(whole, still, 0))
    assert len(list(islice(film, 3))) == 3
    assert len(taken) <= 3 + 8


def test_plain_enlarging_is_what_the_encoder_does() -> None:
    low = small(scene(12), still, 0)
    assert np.array_equal(enlarge_plainly(low, SIZE), encoding.enlarged(low, SIZE))


@given(st.integers(0, 12), st.integers(0, 4))
def test_windows_hold_each_item_and_its_neighbours(items: int, reach: int) -> None:
    found = list(windows(iter(range(items)), reach))
    assert [near[here] for near, here in found] == list(range(items))
    for item, (near, _) in enumerate(found):
        assert near == list(range(max(0, item - reach), min(items, item + reach + 1)))
