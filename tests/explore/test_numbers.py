"""The numbers of a clip against clips whose motion, flicker and sharpness are known."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.jobs import a_request
from wan_core.explore import numbers
from wan_core.geometry import Size

SIZE = Size(192, 96)


def texture(height: int = 96, width: int = 320) -> NDArray[np.uint8]:
    noise = np.random.default_rng(1).integers(0, 255, (height, width), np.uint8)
    grey = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def pan(step: int, frames: int = 17) -> NDArray[np.uint8]:
    whole = texture()
    return np.stack([whole[:, step * at : step * at + SIZE.width] for at in range(frames)])


def measured(frames: NDArray[np.uint8], folder: Path, size: Size = SIZE, fps: int = 16) -> dict[str, float]:
    path = folder / "frames.npy"
    np.save(path, frames)
    return numbers.measure(path, Image.fromarray(frames[0]), size, a_request(frames_per_second=fps))


@pytest.mark.parametrize(("step", "fps", "size"), [(2, 16, SIZE), (4, 8, SIZE), (2, 16, Size(384, 192))])
def test_a_pan_moves_its_pixels_a_second(step: int, fps: int, size: Size, tmp_path: Path) -> None:
    found = measured(pan(step), tmp_path, size, fps)["motion"]
    assert found == pytest.approx(step * fps * size.width / SIZE.width, rel=0.15)


def test_a_still_has_no_motion_no_flicker_and_is_its_picture(tmp_path: Path) -> None:
    found = measured(np.repeat(texture()[None, :, : SIZE.width], 5, axis=0), tmp_path)
    assert (found["motion"], found["flicker"], found["likeness"]) == (pytest.approx(0, abs=0.2), 0, 1)


def test_blur_lowers_sharpness_and_likeness(tmp_path: Path) -> None:
    sharp = pan(2)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in sharp]).astype(np.uint8)
    assert measured(soft, tmp_path)["sharpness"] < measured(sharp, tmp_path)["sharpness"]
    grey = [cv2.cvtColor(frames[0], cv2.COLOR_RGB2GRAY).astype(np.uint8) for frames in (sharp, soft)]
    assert numbers.likeness(grey[0], grey[1]) < 0.95


def test_flicker_is_a_jump_of_brightness_and_a_fade_is_none() -> None:
    jumping, fading = np.array([100.0, 110] * 8), np.linspace(0, 255, 16)
    assert numbers.flicker(jumping) == pytest.approx(100 * 10 / 255)
    assert numbers.flicker(fading) == pytest.approx(0)
