"""Numbers of a clip, measured on a few of its raw frames: before interpolation and enlarging."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wan_core import geometry
from wan_core.flow import Grey, estimate_flow, resize, to_grey
from wan_core.geometry import Size
from wan_core.schema import ImageToVideoInput

PAIRS = 4
MOTION_SIDE = 96  # the longer one, of the frames that motion is measured on
LIKENESS_SIDE = 208  # of those that are compared with the picture
BRIGHTNESS_ROWS = 128
SMALLEST_SIDE = 32
SSIM_SIGMA = 1.5
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@dataclass(frozen=True)
class Measure:
    """`help`: how it is measured, a sentence."""

    name: str
    title: str
    unit: str
    help: str


MEASURES = (
    Measure("motion", "Motion", "px/s", "How far a point of the video moves in a second, on average, by optical flow."),
    Measure(
        "sharpness",
        "Sharpness",
        "",
        "Variance of the Laplacian of the frames as drawn: high with fine edges and noise.",
    ),
    Measure(
        "flicker",
        "Flicker",
        "%",
        "How much the brightness of the whole frame jumps from frame to frame, in percent; fades do not count.",
    ),
    Measure(
        "likeness",
        "First frame",
        "",
        "Structural similarity (SSIM) of the first frame to your picture: 1 is the same, 0 unlike.",
    ),
    Measure("megabytes", "Size", "MB", "Size of the mp4 file."),
    Measure("seconds", "Time", "s", "Seconds that making the clip took, without waiting."),
)


def measure(frames: Path, picture: Image.Image, size: Size, inputs: ImageToVideoInput) -> dict[str, float]:
    """motion, sharpness, flicker and likeness. `frames`: uint8 (T, H, W, 3) .npy."""
    drawn: NDArray[np.uint8] = np.load(frames, mmap_mode="r")
    starts = {round(at) for at in np.linspace(0, len(drawn) - 2, PAIRS)} if len(drawn) > 1 else set()
    pairs = [(to_grey(drawn[at]), to_grey(drawn[at + 1])) for at in sorted(starts)]
    found = {
        "motion": motion(pairs, size, inputs.frames_per_second),
        "sharpness": sharpness([start for start, _ in pairs] or [to_grey(drawn[0])]),
        "flicker": flicker(np.array([brightness(frame) for frame in drawn])),
        "likeness": likeness(*_first_and_picture(drawn[0], picture)),
    }
    return {name: round(value, 4) for name, value in found.items()}


def motion(pairs: list[tuple[Grey, Grey]], size: Size, fps: int) -> float:
    """Mean length of the flow, in pixels of the clip a second."""
    lengths = [float(np.hypot(*np.moveaxis(_flow(start, end, size), -1, 0)).mean()) for start, end in pairs]
    return fps * float(np.mean(lengths)) if lengths else 0.0


def _flow(start: Grey, end: Grey, size: Size) -> NDArray[np.float32]:
    width, height = _within(MOTION_SIDE, start)
    small = [resize(frame, (width, height), cv2.INTER_AREA) for frame in (start, end)]
    flow = estimate_flow(small[0], small[1])
    return np.asarray(flow * np.array([size.width / width, size.height / height], np.float32), np.float32)


def _within(longest: int, frame: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height with the longer side at most `longest`, the shorter at least SMALLEST_SIDE."""
    scale = min(1.0, longest / max(frame.shape[:2]))
    return max(SMALLEST_SIDE, round(frame.shape[1] * scale)), max(SMALLEST_SIDE, round(frame.shape[0] * scale))


def sharpness(frames: list[Grey]) -> float:
    return float(np.mean([cv2.Laplacian(frame, cv2.CV_32F).var() for frame in frames]))


def brightness(frame: NDArray[np.uint8]) -> float:
    """Mean of all rows, or of as many as a small frame has."""
    return float(np.mean(cv2.mean(frame[:: max(1, len(frame) // BRIGHTNESS_ROWS)])[:3]))


def flicker(brightness: NDArray[np.float64]) -> float:
    """Mean deviation of each frame's brightness (0…255) from its neighbours' mean, in percent."""
    if len(brightness) < 3:
        return 0.0
    return float(np.abs(brightness[1:-1] - (brightness[:-2] + brightness[2:]) / 2).mean() / 255 * 100)


def _first_and_picture(first: NDArray[np.uint8], picture: Image.Image) -> tuple[Grey, Grey]:
    """The first frame, and the part of the picture that it shows, at the same small size."""
    box = geometry.crop_box(Size(*picture.size), Size(first.shape[1], first.shape[0]))
    edges = (box.left, box.top, box.right, box.bottom)
    width, height = _within(LIKENESS_SIDE, first)
    shown = picture.resize((width, height), Image.Resampling.LANCZOS, edges, reducing_gap=3)
    return resize(to_grey(first), (width, height), cv2.INTER_AREA), to_grey(np.asarray(shown))


def likeness(one: Grey, other: Grey) -> float:
    """Mean SSIM (Wang et al. 2004) with a Gaussian window of 1.5 pixels."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    both = _blur(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + SSIM_C1) * (2 * both + SSIM_C2)
    return float((above / ((mean_a**2 + mean_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2))).mean())


def _blur(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(plane, (11, 11), SSIM_SIGMA), np.float32)


def all_numbers(measured: Mapping[str, float], clip: Path, stage_seconds: Mapping[str, float]) -> dict[str, float]:
    """With the size of the file and the time it took."""
    size = clip.stat().st_size / 1e6 if clip.is_file() else 0.0
    return {**measured, "megabytes": round(size, 3), "seconds": round(sum(stage_seconds.values()), 2)}
