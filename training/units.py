"""Hidden units of the feed-forward layers, written down or found by least squares.

A pair of hidden units gelu(z + a) - gelu(z - a) is the content a, let through where z > 0.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import data
import torch
import torch.nn.functional as F
from channels import (
    ASKED,
    BESIDE,
    BLURRED,
    CALM,
    COURSE,
    EMPTY,
    F0,
    FIRST,
    GONE_X,
    GONE_Y,
    OPEN,
    OPEN_ZOOM,
    OUT,
    PIXELS,
    PLUS,
    REST_X,
    REST_Y,
    RX,
    RY,
    STEEP,
    ZERO,
)
from data import Motion
from torch import nn
from vae import Codec

MARKS = (
    0.08,
    0.27,
    0.46,
    0.65,
    0.84,
    1.03,
    1.22,
    1.41,
)  # of the way gone, in normal pans: where another share of the content moves
RANK, LOUD = 44, 0.12  # contents a mark has; how loud one is against gelu's knee
SHUT = 15.0  # what a hidden unit of an axis that shall rest is lowered by


@torch.no_grad()
def listen(inner: nn.Module, rows: slice, axis: int, weight: torch.Tensor) -> None:
    """Hidden units hear an axis's expected course, what is read plus what is asked, and are shut where it is closed."""
    inner.weight[rows] = 0
    inner.weight[rows, COURSE[axis]] = weight
    inner.weight[rows, ZERO] = -weight - SHUT
    inner.weight[rows, ASKED[axis]] = weight
    inner.weight[rows, EMPTY] = -weight
    inner.weight[rows, OPEN[axis]] = SHUT


@torch.no_grad()
def put_gate(ffn: nn.Module, unit: int, axis: int) -> None:
    """Two hidden units: the course that goes out is the expected one, or none where the axis is closed."""
    rows = slice(unit, unit + 2)
    listen(ffn.net[0].proj, rows, axis, torch.tensor([1.0, -1.0]))
    ffn.net[0].proj.bias[rows] = -SHUT
    ffn.net[2].weight[OUT[axis], rows] = torch.tensor([1.0, -1.0])


@torch.no_grad()
def put_rest(ffn: nn.Module, unit: int, axis: int, target: int) -> None:
    """One hidden unit: 1 where neither this axis nor the zoom is open, else 0."""
    inner, outer = ffn.net[0].proj, ffn.net[2]
    inner.weight[unit] = 0
    inner.weight[unit, [OPEN[axis], OPEN_ZOOM]] = -8.0
    inner.weight[unit, ZERO] = 16.0
    inner.bias[unit] = 4.0
    outer.weight[target, unit] = 0.25


@torch.no_grad()
def put_clip(ffn: nn.Module, unit: int, axis: int, target: int, knee: float = 0.3) -> None:
    """Four hidden units: target becomes the course / knee, clipped to [-1, 1]."""
    steep, rows = 4 / knee, slice(unit, unit + 4)
    signs, starts = torch.tensor([1.0, 1.0, -1.0, -1.0]), torch.tensor([0.0, knee, 0.0, knee])
    listen(ffn.net[0].proj, rows, axis, signs * steep)
    ffn.net[0].proj.bias[rows] = -steep * starts - SHUT
    ffn.net[2].weight[target, rows] = signs * torch.where(starts == 0, 1, -1) / 4


@torch.no_grad()
def put_function(
    ffn: nn.Module,
    unit: int,
    count: int,
    axis: int,
    widest: float,
    others: dict[int, tuple[float, float]],
    target: int,
    wanted: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    """`count` hidden units that add a smooth function of an axis's course and a few channels: Adam, then least squares.

    The course is fitted on [-widest, widest], denser in the middle; `others`: channel → the range it is fitted on,
    (low, high). `wanted` takes them as columns.
    """
    low, high = torch.tensor([(-widest, widest), *others.values()]).T

    def draw(number: int) -> torch.Tensor:
        points = low + (high - low) * torch.rand(number, len(low))
        points[::2, 0] *= 0.2
        points[::5, 0] *= 0.02  # a still clip must be still
        return points

    weights = (torch.randn(count, len(low)) * 2.5 / high.clamp(max=6).sqrt()).requires_grad_()
    biases = (torch.randn(count) * 1.5).requires_grad_()
    outputs = torch.zeros(count, requires_grad=True)
    optimiser = torch.optim.Adam([weights, biases, outputs], lr=1e-2)
    for step in range(steps := 3000):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        points = draw(2000)
        with torch.enable_grad():
            values = F.gelu(points @ weights.T + biases, approximate="tanh") @ outputs
            loss = (values - wanted(points)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    weights, biases = weights.detach(), biases.detach()
    points = draw(20000)
    importance = torch.where(points[:, :1].abs() < 0.15, 10.0, 1.0).double()
    features = F.gelu(points @ weights.T + biases, approximate="tanh").double()
    values = wanted(points)[:, None].double()
    ridge = 1e-7 * len(features) * torch.eye(count).double()
    solution = torch.linalg.solve(features.T @ (importance * features) + ridge, features.T @ (importance * values))
    error = (features @ solution - values).square()
    print(
        f"a function of {len(low)} channels: rms error {error.mean().sqrt():.4f}, largest {error.max().sqrt():.3f}"
        f", outputs up to {solution.abs().max():.2f}"
    )
    inner, outer, rows = ffn.net[0].proj, ffn.net[2], slice(unit, unit + count)
    listen(inner, rows, axis, weights[:, 0])
    for column, channel in enumerate(others, start=1):
        inner.weight[rows, channel] = weights[:, column]
        inner.weight[rows, ZERO] -= weights[:, column]
    inner.bias[rows] = biases - SHUT
    outer.weight[target, rows] = solution[:, 0].float()


def moving_tokens(
    codec: Codec, axis: str, sign: int, count: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]]:
    """Own and neighbour's values (N, 64 + BESIDE), the moved ones (N, 64), what an error in them weighs (N, 1) and the
    way gone, for many pictures."""
    generator, rng = torch.Generator().manual_seed(len(axis) + sign), random.Random(sign)
    for _ in range(count):
        picture = data.random_picture(generator, 112, 176)
        ways = [0.0, 0.0, *(rng.uniform(0, 1.6) for _ in range(8))]
        motion = Motion(dx=sign * PIXELS * 20) if axis == "x" else Motion(dy=sign * PIXELS * 20)
        left, top = rng.randint(0, picture.shape[2] - 176), rng.randint(0, picture.shape[1] - 112)
        clip = data.moving_crop(picture, motion, ways, 112, 176, left, top)
        tokens = F.pixel_unshuffle(codec.encode(clip), 2).permute(0, 2, 3, 1)
        weights = 1 + CALM * F.avg_pool2d(data.calmness(clip), 16).permute(0, 2, 3, 1)
        beside = torch.roll(tokens[0], sign, 1 if axis == "x" else 0)[..., :BESIDE]
        inputs = torch.cat([tokens[0], beside], -1)[2:-2, 2:-2].flatten(0, 1)
        for way, moved, weight in zip(ways, tokens, weights, strict=True):
            yield inputs, moved[2:-2, 2:-2].flatten(0, 1), weight[2:-2, 2:-2].flatten(0, 1), way


@torch.no_grad()
def put_shift(ffn: nn.Module, unit: int, codec: Codec, axis: str, sign: int, pictures: int = 400) -> None:
    """2 · RANK · len(MARKS) hidden units that shift the picture along an axis by the way gone, one direction."""
    width, marks = 64 + BESIDE, torch.tensor(MARKS)

    def steps(way: float) -> torch.Tensor:
        z = STEEP * (way - marks)
        return (F.gelu(z + LOUD, approximate="tanh") - F.gelu(z - LOUD, approximate="tanh")) / LOUD

    size = len(MARKS) * width
    gram, cross, power = (
        torch.zeros(size, size).double(),
        torch.zeros(size, 64).double(),
        torch.zeros(width, width).double(),
    )
    for inputs, moved, _, way in moving_tokens(codec, axis, sign, pictures):
        features = (steps(way)[:, None, None] * inputs).permute(1, 0, 2).flatten(1).double()
        gram += features.T @ features
        cross += features.T @ (moved - inputs[:, :64]).double()
        power += (inputs.T @ inputs).double() / len(inputs)
    ridge = 1e-4 * gram.diagonal().mean() * torch.eye(size).double()
    operators = torch.linalg.solve(gram + ridge, cross).unflatten(0, (len(MARKS), width))
    spread = torch.linalg.cholesky(power / power.diagonal().mean() + 1e-4 * torch.eye(width).double())
    contents = []
    for operator in operators:
        left = torch.linalg.svd(spread.T @ operator).U[:, :RANK]
        content = torch.linalg.solve(spread.T, left).T.float()
        rms = torch.einsum("ri,ij,rj->r", content, (power / power.diagonal().mean()).float(), content).sqrt()
        contents.append(content / rms[:, None])
    listening = torch.stack(contents)  # marks, RANK, width
    heard = math.sqrt(float(power.diagonal().mean()) / (10 * pictures))
    listening = listening * LOUD / heard
    size = len(MARKS) * RANK
    gram, cross = torch.zeros(size, size).double(), torch.zeros(size, 64).double()
    total = explained = 0.0
    for inputs, moved, weight, way in moving_tokens(codec, axis, sign, pictures):
        content, z = torch.einsum("mri,ni->nmr", listening, inputs), (STEEP * (way - marks))[None, :, None]
        features = F.gelu(z + content, approximate="tanh") - F.gelu(z - content, approximate="tanh")
        features, change = features.flatten(1).double(), (moved - inputs[:, :64]).double()
        gram += features.T @ (weight * features)
        cross += features.T @ (weight * change)
        total += float((weight * change**2).sum())
    ridge = 1e-4 * gram.diagonal().mean() * torch.eye(size).double()
    speaking = torch.linalg.solve(gram + ridge, cross)
    explained = float(2 * (speaking * cross).sum() - (speaking * (gram @ speaking)).sum())
    print(
        f"shift along {axis} {sign:+d}: {100 * (1 - explained / total):.1f} % of a still copy's error is left",
        flush=True,
    )
    inner, outer = ffn.net[0].proj, ffn.net[2]
    side, gone, rest = (RX, GONE_X, REST_X) if axis == "x" else (RY, GONE_Y, REST_Y)
    sources = [*range(F0, F0 + 64), *range(side, side + BESIDE)]
    for half, half_sign in enumerate((1, -1)):
        rows = torch.arange(size) + unit + half * size
        inner.weight[rows] = 0
        inner.weight[rows[:, None], torch.tensor(sources)[None]] = half_sign * listening.flatten(0, 1)
        inner.weight[rows, gone], inner.weight[rows, BLURRED] = sign * STEEP, -sign * STEEP
        inner.weight[rows, PLUS] = -STEEP * marks.repeat_interleave(RANK)
        inner.weight[rows, FIRST] = -40.0  # the first frame stays as it is
        inner.weight[rows, rest] = -6.0
        inner.weight[rows, ZERO] = -half_sign * listening.flatten(0, 1).sum(1) + 46
        inner.bias[rows] = 0
        outer.weight[F0 : F0 + 64, rows] = half_sign * speaking.T.float()
