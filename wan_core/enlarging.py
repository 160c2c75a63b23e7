"""Low-resolution frames + full-size picture → frames of the picture's size. No torch.

For engines that only move a camera over the picture (the miniature): each frame is registered on the first, the picture
is moved alike and replaces the enlarged frame where both agree. New content keeps the model's pixels.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wan_core import geometry
from wan_core.flow import Flow, Plane, grid, is_inside, mix, ramp, sample, to_grey, warp
from wan_core.frames import Frame
from wan_core.geometry import Size

T = TypeVar("T")

Move = NDArray[np.float64]
"""(4,): growth, turn, right, down. Pixel x of a frame, from its centre, shows ((1 + growth, -turn), (turn, 1 + growth))
x + (right, down) of the first frame, in low-resolution pixels.
"""

STILL: Move = np.zeros(4)
KNOWN = 100.0  # weight of the first frame's known move

REACH_OF_MOVES = 4
REACH_OF_SHARES = 3
"""Frames on each side that smooth a move (parabola) and shares (mean)."""

LEVELS = (4, 2, 1)
STEPS = 6  # of Gauss and Newton, on each level
CLOSE_PX = 0.01
LARGEST = 0.5  # growth or turn: beyond, another picture was registered
OUTLIER = 20.0  # grey levels: beyond, Huber's weight
FINE = 1.5  # sigma in pixels: finer patterns of the model's decoder do not move

SHIFT_PX = 1.0  # the model's own wobble of edges
TOLERANCE = (12.0, 36.0)  # grey levels: full trust, no trust
CORRELATION = (0.2, 0.6)  # no trust, full trust
REGION = 8.0  # sigma in pixels of what is judged together
FLAT = 30.0  # variance in squared grey levels of a plain surface
WHOLE_SHARPNESS, LOCAL_SHARPNESS = (0.4, 0.75), (0.4, 0.7)
"""Part of the first frame's detail left, at which a frame takes none or all of the picture. Measured: 0.65 to 0.9 at
the preset's settings, 0.5 to 0.65 with two steps or shift 8.
"""
OVERDRAWN = (1.25, 1.8)  # the same above 1: too much guidance
QUIET = 6.0  # energy of detail, in squared grey levels, below which differences are invisible
FEATHER_PX = 3.0
NEARLY_NONE = 1 / 256


def enlarge_plainly(frame: Frame, size: Size) -> Frame:
    """Crop centrally to the ratio of `size` and enlarge (Lanczos)."""
    return np.asarray(geometry.fit(Image.fromarray(frame), size))


def enlarge_with_picture(frames: Iterable[Frame], picture: Frame) -> Iterator[Frame]:
    """With the picture's detail.

    `frames`: uint8 (h, w, 3); the first is the picture, cropped to its ratio. `picture`: uint8 (H, W, 3), the final
    size.
    """
    source = iter(frames)
    first = next(source, None)
    if first is None:
        return
    guide = Guide(first, picture)
    for shot in steady_shares(guide, steady_moves(find_moves(guide, source))):
        yield guide.draw(shot)


@dataclass(frozen=True)
class Shot:
    """`share` of the picture: (h, w) in [0, 1]."""

    frame: Frame
    move: Move
    share: Plane


class Guide:
    def __init__(self, first: Frame, picture: Frame) -> None:
        self.picture = picture
        self.first = first
        self.size = Size(picture.shape[1], picture.shape[0])
        self.kept = geometry.crop_box(Size(first.shape[1], first.shape[0]), self.size)
        self.pyramid = pyramid(first)
        self.detail = detail(first)

    @cached_property
    def to_low(self) -> NDArray[np.float64]:
        """(3, 3): pixel of the picture → low-resolution frame; pixel centres are whole numbers."""
        scale = (self.kept.right - self.kept.left) / self.size.width
        offset = 0.5 * scale - 0.5
        return np.array([[scale, 0, self.kept.left + offset], [0, scale, self.kept.top + offset], [0, 0, 1]])

    def share(self, frame: Frame, move: Move) -> Plane:
        """(h, w) in [0, 1], before smoothing."""
        places = moved_places(move, self.first.shape)
        alike = agreement(frame, sample(self.first, places, cv2.INTER_CUBIC))
        as_sharp = likeness_of_detail(detail(frame), sample(self.detail, places))
        return np.asarray(np.minimum(alike * as_sharp, self.known_parts(places)), np.float32)

    def known_parts(self, places: Flow) -> Plane:
        """1 inside the picture, falling to 0 at new borders."""
        box = self.kept
        across, down = places[..., 0], places[..., 1]
        inside = np.minimum(
            np.minimum(across - box.left, box.right - 1 - across), np.minimum(down - box.top, box.bottom - 1 - down)
        )
        moved = np.abs(places - grid(*places.shape[:2])).max(-1)
        return np.asarray(np.clip((inside + 0.5) / (np.minimum(moved, FEATHER_PX) + 0.5), 0, 1), np.float32)

    def draw(self, shot: Shot) -> Frame:
        if shot.share.max() < NEARLY_NONE:
            return enlarge_plainly(shot.frame, self.size)
        size = (self.size.width, self.size.height)
        in_first = np.vstack([matrix(shot.move, self.first.shape), [0, 0, 1]])
        places = np.linalg.inv(self.to_low) @ in_first @ self.to_low
        moved = warp(self.picture, places[:2], size, cv2.INTER_CUBIC)
        if shot.share.min() > 1 - NEARLY_NONE:
            return moved
        share = warp(shot.share, self.to_low[:2], size, cv2.INTER_LINEAR)
        return mix(enlarge_plainly(shot.frame, self.size), moved, share)


def find_moves(guide: Guide, rest: Iterator[Frame]) -> Iterator[tuple[Frame, Move]]:
    move = STILL
    yield guide.first, move
    for frame in rest:
        move = register(guide.pyramid, pyramid(frame), move)
        yield frame, move


def steady_moves(found: Iterator[tuple[Frame, Move]]) -> Iterator[tuple[Frame, Move]]:
    """By a parabola through neighbouring moves; the first frame stays still."""
    for number, (near, here) in enumerate(windows(found, REACH_OF_MOVES)):
        times = np.arange(len(near)) - here
        weights = np.ones(len(near))
        weights[0] = KNOWN if number <= REACH_OF_MOVES else 1
        moves = np.stack([move for _, move in near])
        lines = np.polynomial.polynomial.polyfit(times, moves, min(2, len(near) - 1), w=weights)
        yield near[here][0], lines[0] if number else STILL


def steady_shares(guide: Guide, moves: Iterator[tuple[Frame, Move]]) -> Iterator[Shot]:
    """Mean of neighbours, at most twice a frame's own: 0 where nothing agrees."""
    shots = (Shot(frame, move, guide.share(frame, move)) for frame, move in moves)
    for near, here in windows(shots, REACH_OF_SHARES):
        own = near[here]
        mean = np.mean([shot.share for shot in near], axis=0, dtype=np.float32)
        yield Shot(own.frame, own.move, np.minimum(mean, 2 * own.share))


def windows(items: Iterator[T], reach: int) -> Iterator[tuple[list[T], int]]:
    """Each item's neighbours, and its index among them."""
    near: deque[T | None] = deque(maxlen=2 * reach + 1)
    padded: Iterator[T | None] = chain(items, [None] * reach)
    for number, item in enumerate(padded):
        near.append(item)
        if number >= reach:
            yield [one for one in near if one is not None], min(reach, number - reach)


def pyramid(frame: Frame) -> list[Plane]:
    grey = to_grey(frame).astype(np.float32)
    plane = blur(grey, FINE)
    height, width = plane.shape
    return [
        np.asarray(cv2.resize(plane, (width // level, height // level), interpolation=cv2.INTER_AREA))
        for level in LEVELS
    ]


def register(first: list[Plane], frame: list[Plane], start: Move) -> Move:
    """Robust Lucas-Kanade from the first frame to `frame`."""
    move = start
    for level, reference, target in zip(LEVELS, first, frame, strict=True):
        to_level = np.array([1, 1, 1 / level, 1 / level])
        move = refine(reference, target, move * to_level) / to_level
    return move if np.abs(move[:2]).max() < LARGEST else start


def refine(reference: Plane, target: Plane, move: Move) -> Move:
    centre = middle(target.shape)
    across, down = np.moveaxis(grid(*target.shape) - centre, -1, 0)
    for _ in range(STEPS):
        places = moved_places(move, target.shape)
        expected = sample(reference, places, cv2.INTER_LINEAR)
        right, below = slopes_of(expected)
        error = target - expected
        weight = OUTLIER / np.maximum(np.abs(error), OUTLIER)
        weight *= is_inside(places, (target.shape[1], target.shape[0]))
        error = error - (weight * error).sum() / max(weight.sum(), 1)  # a change of brightness is no motion
        slopes = np.stack([right * across + below * down, below * across - right * down, right, below]).reshape(4, -1)
        weighted = slopes * weight.reshape(-1)
        normal = (weighted @ slopes.T).astype(np.float64) + np.diag([1, 1, 1e-3, 1e-3])
        change = np.linalg.solve(normal, (weighted @ error.reshape(-1)).astype(np.float64))
        move = move + change
        if np.abs(change * [centre[0], centre[0], 1, 1]).max() < CLOSE_PX:
            break
    return move


def slopes_of(plane: Plane) -> tuple[Plane, Plane]:
    """Grey levels per pixel."""
    right, down = (cv2.Sobel(plane, -1, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return np.asarray(right, np.float32), np.asarray(down, np.float32)


def middle(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2], np.float32)


def matrix(move: Move, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """(2, 3): pixel of a frame → first frame."""
    growth, turn, right, down = move
    linear = np.array([[1 + growth, -turn], [turn, 1 + growth]])
    centre = middle(shape).astype(np.float64)
    return np.column_stack([linear, centre + np.array([right, down]) - linear @ centre])


def moved_places(move: Move, shape: tuple[int, ...]) -> Flow:
    places = matrix(move, shape).astype(np.float32)
    return np.asarray(grid(*shape[:2]) @ places[:, :2].T + places[:, 2], np.float32)


def agreement(frame: Frame, expected: Frame) -> Plane:
    """1 where `frame` matches `expected` up to a small shift of edges, else 0."""
    ours, theirs = (blur(picture.astype(np.float32), 1.2) for picture in (frame, expected))
    error = np.abs(ours - theirs).mean(-1)
    right, down = slopes_of(theirs)
    unexplained = np.maximum(error - SHIFT_PX * (np.abs(right) + np.abs(down)).mean(-1), 0)
    alike = 1 - ramp(blur(unexplained, 2), *TOLERANCE)
    return np.asarray(alike * ramp(correlation(ours.mean(-1), theirs.mean(-1)), *CORRELATION), np.float32)


def correlation(a: Plane, b: Plane) -> Plane:
    """Local correlation in [-1, 1]; 1 where both are flat."""
    mean_a, mean_b = blur(a, REGION), blur(b, REGION)
    variance_a, variance_b = blur(a * a, REGION) - mean_a**2, blur(b * b, REGION) - mean_b**2
    together = blur(a * b, REGION) - mean_a * mean_b
    spread = np.sqrt(np.maximum(variance_a * variance_b, 0))
    return np.asarray((together + FLAT) / (spread + FLAT), np.float32)


def likeness_of_detail(ours: Plane, theirs: Plane) -> Plane:
    """1 where detail is as expected, towards 0 if blurrier or overdrawn."""
    whole = np.sqrt((ours.mean(keepdims=True) + 0.1) / (theirs.mean(keepdims=True) + 0.1))
    local = np.sqrt((ours + QUIET) / (theirs + QUIET))
    kept = ramp(whole, *WHOLE_SHARPNESS) * ramp(local, *LOCAL_SHARPNESS)
    return np.asarray(kept * (1 - ramp(whole, *OVERDRAWN)), np.float32)


def detail(frame: Frame) -> Plane:
    """Local energy of detail finer than two pixels."""
    grey = to_grey(frame).astype(np.float32)
    return blur(np.square(grey - blur(grey, 1)), REGION)


def blur(plane: Plane, sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)
