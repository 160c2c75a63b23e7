"""The cut detector against pans, zooms, flashes and fades, which are no cuts, and against real changes of scene."""

import time
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wan_core.interpolation import is_cut

Frame = NDArray[np.uint8]
COLOURS = {"dusk": (200, 90, 60), "forest": (40, 120, 50), "sea": (30, 90, 190), "snow": (235, 240, 245)}


def scene(seed: int, colour: tuple[int, int, int], size: tuple[int, int] = (120, 208)) -> Frame:
    """Large soft shapes in tones of one colour: like a photograph as far as the detector can tell."""
    tones = np.random.default_rng(seed).random((6, 9)) * 1.1
    whole = (size[1] * 2, size[0] * 2)
    plane = np.asarray(Image.fromarray(tones.astype(np.float32)).resize(whole, Image.Resampling.BICUBIC))
    return np.clip(plane[..., None] * np.array(colour), 0, 255).astype(np.uint8)


def view(whole: Frame, left: int, top: int, size: tuple[int, int] = (120, 208)) -> Frame:
    return whole[top : top + size[0], left : left + size[1]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step", [0, 4, 16, 40, 80])
def test_a_pan_is_no_cut(seed: int, step: int) -> None:
    whole = scene(seed, COLOURS["dusk"])
    assert not is_cut(view(whole, 0, 0), view(whole, step, step // 2))


@pytest.mark.parametrize("factor", [1.05, 1.3, 1.6])
def test_a_zoom_is_no_cut(factor: float) -> None:
    picture = Image.fromarray(view(scene(1, COLOURS["sea"]), 0, 0))
    w, h = picture.size
    box = (w / 2 - w / 2 / factor, h / 2 - h / 2 / factor, w / 2 + w / 2 / factor, h / 2 + h / 2 / factor)
    assert not is_cut(np.asarray(picture), np.asarray(picture.resize((w, h), Image.Resampling.BICUBIC, box=box)))


@pytest.mark.parametrize("gain", [0.3, 0.7, 1.5, 2.5])
def test_a_flash_or_a_fade_is_no_cut(gain: float) -> None:
    frame = view(scene(2, COLOURS["forest"]), 0, 0)
    assert not is_cut(frame, np.clip(frame * gain, 0, 255).astype(np.uint8))


def test_a_fast_moving_texture_is_no_cut(moving: Callable[..., Callable[[float], Frame]]) -> None:
    for speed in (2, 8, 24, 60):
        film = moving((120, 208), speed)
        assert not is_cut(film(0), film(1))


def test_grain_on_a_still_picture_is_no_cut() -> None:
    frame, random = view(scene(3, COLOURS["snow"]), 0, 0), np.random.default_rng(0)
    assert not is_cut(frame, np.clip(frame + random.normal(0, 25, frame.shape), 0, 255).astype(np.uint8))


def test_of_changes_to_another_scene_in_other_colours_nine_in_ten_are_cuts() -> None:
    changes = [
        is_cut(view(scene(seed, left), 0, 0), view(scene(seed + 100, right), 150, 90))
        for left, right in permutations(COLOURS.values(), 2)
        for seed in range(5)
    ]
    assert np.mean(changes) >= 0.9


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 33), (31, 500), (720, 1280)])
def test_any_size_can_be_judged(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert not is_cut(frame, frame)


def test_a_pair_of_720p_is_judged_in_milliseconds() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 720, 1280, 3), np.uint8)
    is_cut(*frames)
    start = time.process_time()
    for _ in range(5):
        is_cut(*frames)
    assert (time.process_time() - start) / 5 < 0.05
