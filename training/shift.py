"""Moves the first picture sideways or upright by fractions of a token, in the feed-forward layer of a block.

A shift by a known way is linear in a token's values and its neighbour's. A pair of hidden units
gelu(z + a) - gelu(z - a) is the content a, let through where the way gone has passed a mark (z > 0). Least squares over
moving pictures finds the contents and what becomes of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from training.channels import CHANNELS, Direction
from training.codec import IMAGE_DIM, Codec
from training.course import LATENT_FRAMES, PAN_PIXELS, PLAIN_WEIGHT, STEEPNESS
from training.moving_pictures import Motion, moving_crop, plainness, random_picture
from training.units import Units

MARKS = (0.08, 0.27, 0.46, 0.65, 0.84, 1.03, 1.22, 1.41)  # ways gone, in normal pans, where more of the content moves
RANK = 44  # contents a mark has
LOUDNESS = 0.12  # rms of a content: gelu's knee is wide beside it
PICTURES = 400
STILL_WAYS, DRAWN_WAYS, WIDEST_WAY = 2, 8, 1.6
HEIGHT, WIDTH = 112, 176
OWN = 4 * IMAGE_DIM  # a token's own values
HEARD = OWN + len(CHANNELS.sideways.neighbour)
RIDGE = 1e-4


@dataclass(frozen=True)
class MovedTokens:
    """The tokens of a picture, and what they hold after it has moved by `way` normal pans."""

    inputs: torch.Tensor  # (N, HEARD): own values, then the neighbour's leading ones
    moved: torch.Tensor  # (N, OWN)
    weight: torch.Tensor  # (N, 1): what an error counts
    way: float

    @property
    def change(self) -> torch.Tensor:
        return (self.moved - self.inputs[:, :OWN]).double()


def iter_moved_tokens(codec: Codec, direction: Direction, sign: int, pictures: int) -> Iterator[MovedTokens]:
    """Ten ways of each picture, along `direction` to its positive or negative end; the same ones at every call."""
    generator, rng = torch.Generator().manual_seed(1 + sign), random.Random(sign)
    for _ in range(pictures):
        picture = random_picture(generator, HEIGHT, WIDTH)
        ways = [0.0] * STILL_WAYS + [rng.uniform(0, WIDEST_WAY) for _ in range(DRAWN_WAYS)]
        speed = sign * PAN_PIXELS * (LATENT_FRAMES - 1)  # a way of 1 is a whole clip at normal speed
        motion = Motion(dx=speed) if direction.axis == "x" else Motion(dy=speed)
        left, top = rng.randint(0, picture.shape[2] - WIDTH), rng.randint(0, picture.shape[1] - HEIGHT)
        clip = moving_crop(picture, motion, ways, HEIGHT, WIDTH, left, top)
        tokens = F.pixel_unshuffle(codec.encode(clip), 2).permute(0, 2, 3, 1)
        weights = 1 + PLAIN_WEIGHT * F.avg_pool2d(plainness(clip), 16).permute(0, 2, 3, 1)
        beside = torch.roll(tokens[0], sign, 1 if direction.axis == "x" else 0)[..., : HEARD - OWN]
        inputs = _inner_tokens(torch.cat([tokens[0], beside], -1))
        for way, moved, weight in zip(ways, tokens, weights, strict=True):
            yield MovedTokens(inputs, _inner_tokens(moved), _inner_tokens(weight), way)


def _inner_tokens(grid: torch.Tensor) -> torch.Tensor:
    """(H, W, C) → (N, C) without the two outermost rows and columns: no content enters the others."""
    return grid[2:-2, 2:-2].flatten(0, 1)


class NormalEquations:
    """Weighted least squares over many batches, in double."""

    def __init__(self, size: int, outputs: int) -> None:
        self.gram, self.cross = torch.zeros(size, size).double(), torch.zeros(size, outputs).double()

    def add(self, features: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor | float = 1.0) -> None:
        self.gram += features.T @ (weight * features)
        self.cross += features.T @ (weight * wanted)

    def solve(self) -> torch.Tensor:
        """(size, outputs), with a ridge of RIDGE of the mean power."""
        ridge = RIDGE * self.gram.diagonal().mean() * torch.eye(len(self.gram)).double()
        solution: torch.Tensor = torch.linalg.solve(self.gram + ridge, self.cross)
        return solution

    def explained(self, solution: torch.Tensor) -> float:
        """How much of the wanted values' weighted power the solution takes away."""
        return float(2 * (solution * self.cross).sum() - (solution * (self.gram @ solution)).sum())


@torch.no_grad()
def find_contents(codec: Codec, direction: Direction, sign: int, pictures: int) -> torch.Tensor:
    """(marks, RANK, HEARD): the contents that each mark's move needs most, at rms LOUDNESS."""
    marks = torch.tensor(MARKS)
    equations, power = NormalEquations(len(MARKS) * HEARD, OWN), torch.zeros(HEARD, HEARD).double()
    for tokens in iter_moved_tokens(codec, direction, sign, pictures):
        z = STEEPNESS * (tokens.way - marks)
        steps = (F.gelu(z + LOUDNESS, approximate="tanh") - F.gelu(z - LOUDNESS, approximate="tanh")) / LOUDNESS
        features = (steps[:, None, None] * tokens.inputs).permute(1, 0, 2).flatten(1).double()
        equations.add(features, tokens.change)
        power += (tokens.inputs.T @ tokens.inputs).double() / len(tokens.inputs)
    mean_power = power.diagonal().mean()
    operators = torch.unflatten(equations.solve(), 0, (len(MARKS), HEARD))
    spread = torch.linalg.cholesky(power / mean_power + RIDGE * torch.eye(HEARD).double())
    contents = torch.stack([_leading_contents(operator, spread, power / mean_power) for operator in operators])
    return contents * LOUDNESS / math.sqrt(float(mean_power) / ((STILL_WAYS + DRAWN_WAYS) * pictures))


def _leading_contents(operator: torch.Tensor, spread: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
    """(RANK, HEARD): the inputs of a mark's operator (HEARD, OWN) that matter most, each at rms 1 of `power`."""
    left = torch.linalg.svd(spread.T @ operator).U[:, :RANK]
    content: torch.Tensor = torch.linalg.solve(spread.T, left).T.float()
    rms = torch.einsum("ri,ij,rj->r", content, power.float(), content).sqrt()
    return content / rms[:, None]


@torch.no_grad()
def find_effects(codec: Codec, direction: Direction, sign: int, contents: torch.Tensor, pictures: int) -> torch.Tensor:
    """(marks · RANK, OWN): what each content adds to a token once its mark is passed."""
    marks = torch.tensor(MARKS)
    equations, total = NormalEquations(len(MARKS) * RANK, OWN), 0.0
    for tokens in iter_moved_tokens(codec, direction, sign, pictures):
        content = torch.einsum("mri,ni->nmr", contents, tokens.inputs)
        z = (STEEPNESS * (tokens.way - marks))[None, :, None]
        features = F.gelu(z + content, approximate="tanh") - F.gelu(z - content, approximate="tanh")
        equations.add(features.flatten(1).double(), tokens.change, tokens.weight)
        total += float((tokens.weight * tokens.change**2).sum())
    effects = equations.solve()
    left = 1 - equations.explained(effects) / total
    print(f"shift along {direction.axis} {sign:+d}: {100 * left:.1f} % of a still copy's error is left", flush=True)
    return effects.float()


@torch.no_grad()
def put_shift(units: Units, codec: Codec, direction: Direction, sign: int, pictures: int = PICTURES) -> None:
    """2 · RANK · len(MARKS) hidden units that shift the picture by the way gone, to one end of `direction`."""
    contents = find_contents(codec, direction, sign, pictures)
    effects = find_effects(codec, direction, sign, contents, pictures).T
    contents, marks = contents.flatten(0, 1), torch.tensor(MARKS).repeat_interleave(RANK)
    heard = [*CHANNELS.picture, *direction.neighbour]
    written = slice(CHANNELS.picture.start, CHANNELS.picture.stop)
    for half in (1, -1):
        rows = units.allocate(len(contents))
        weight = units.inner.weight[rows]
        weight[:] = 0
        weight[:, heard] = half * contents
        weight[:, direction.gone], weight[:, CHANNELS.blurred] = sign * STEEPNESS, -sign * STEEPNESS
        weight[:, CHANNELS.plus] = -STEEPNESS * marks
        weight[:, CHANNELS.first_frame] = -40.0  # the first frame stays as it is
        weight[:, direction.rests] = -6.0
        weight[:, CHANNELS.zero] = -half * contents.sum(1) + 46
        units.inner.bias[rows] = 0
        units.outer.weight[written, rows] = half * effects
