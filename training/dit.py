"""The miniature's two experts: a constructed start, then training.

A small transformer trained from random weights spends hours before it moves the picture at all (NOTES.md). So the
attention heads are written down, and gradient descent learns what they feed:

- Channels of a token: X the noisy latents, F the first picture's latents at this place, RX/RY those of its neighbours
  in the direction of the move, and a few signals. A large constant pair makes the LayerNorms nearly linear.
- Block 0 copies the picture from frame 0 to every frame and finds the frame number and the place in the picture, each
  as the balance of a softmax between frame 0 and the token's own frame (RoPE knows only differences of positions).
- Two latent channels are no picture: they carry the camera's course (pan, tilt and, as a fine pattern, zoom), faintly,
  so that it emerges from the noise over the steps as the content of a video does. A clip's course is normal about the
  one the prompt asks for; both experts give its expected value, from the prompt and from the mean of the noisy channels
  (`reading`), and the sampler draws it. The low-noise expert moves the picture accordingly.
- A prompt that names a move opens its axis, one that says nothing about the camera opens all, "static" shuts them.
- Block 1 fetches the neighbour sideways and shifts by fractions of a token, block 2 does the same upright. A pair of
  hidden units gelu(z + a) - gelu(z - a) is the content a, let through where the way gone has passed a mark (z > 0);
  least squares over moving pictures finds contents and outputs, gradient descent goes on from there.
- What is fine in the picture is trusted the less, the less certain the course is at a noise level (`put_trust`).
- The output is (X - picture) / σ, the flow-matching velocity, with 1/σ in the last modulation.

`python dit.py low` trains (and resumes), `python dit.py high` only constructs.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import data
import torch
import torch.nn.functional as F
from data import Motion
from diffusers import WanTransformer3DModel
from prompts import FAST, SLOW, Course
from safetensors.torch import save_file
from text import SCALE, directions, meaning
from torch import nn
from vae import IMAGE, Codec

from wan_core.engine.miniature.architecture import HIGH_NOISE, LOW_NOISE, Z_DIM, build_transformer

WIDTH, HEAD = 240, 48
X, F0 = 0, 72
RX, RY = 136, 176
BESIDE = 40  # leading latent values kept of a neighbour
PLUS, MINUS, ZERO, FIRST, TIME, COURSE_X, COURSE_Y, PLACE_X, PLACE_Y, ZOOM, SIDE_X, SIDE_Y, GONE_X, GONE_Y, EMPTY = (
    range(216, 231)
)
ASKED_X, ASKED_Y, ASKED_ZOOM, OPEN_X, OPEN_Y, OPEN_ZOOM, OUT_X, OUT_Y, OUT_ZOOM = range(231, 240)
COURSE, ASKED, OPEN, OUT = (
    (COURSE_X, COURSE_Y, ZOOM),
    (ASKED_X, ASKED_Y, ASKED_ZOOM),
    (OPEN_X, OPEN_Y, OPEN_ZOOM),
    (OUT_X, OUT_Y, OUT_ZOOM),
)
LARGE = 1000.0
SPREAD = math.sqrt(2 * LARGE**2 / WIDTH + 0.7)  # a token's standard deviation: what every LayerNorm divides by
TAG = 0.2  # latent value of the course channels at normal speed: faint, so that the course emerges over the steps
TAKE = 0.3  # standard deviation of a course about the one asked for, in normal speeds (17 frames; longer clips: less)
SPECK = 0.0245  # of the mean of unit noise over the places of 17 frames at 208×128 (81 frames: 0.011)
SHUT = 15.0  # what a hidden unit of an axis that shall rest is lowered by
PATTERN = (1, -1, 1, -1)  # of the zoom over a token's four places in both course channels
PIXELS = 12 / 20  # a pan at normal speed moves the content by 12 pixels in 20 latent frames; a token is 16 wide
GROWTH = 0.12 / 20  # a push in at normal speed enlarges by exp(0.12) in 20 latent frames
LOGIT = math.sqrt(HEAD)
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
STEEP, RANK, LOUD = 8.0, 44, 0.12


def pair(axis: str, index: int) -> int:
    """First of the two head channels of a RoPE frequency, 10000^(-index/8) radians per token."""
    return {"t": 0, "y": 16, "x": 32}[axis] + 2 * index


class Head:
    """Query, key and value of one head as affine functions of the token's channels, filled in by name."""

    def __init__(self) -> None:
        self.query_bias, self.key_bias = torch.zeros(HEAD), torch.zeros(HEAD)
        self.query, self.key, self.value = torch.zeros(HEAD, WIDTH), torch.zeros(HEAD, WIDTH), torch.zeros(HEAD, WIDTH)
        self.out = torch.zeros(WIDTH, HEAD)

    def _key(self, channel: int, of_first: float, of_others: float) -> None:
        self.key_bias[channel] += of_others
        self.key[channel, FIRST] += of_first - of_others
        self.key[channel, ZERO] -= of_first - of_others

    def only_first_frame(self, strength: float = 12.0) -> None:
        """Frame 0 is seen, everything else is not."""
        channel = pair("t", 7)
        self.query_bias[channel] += strength * LOGIT
        self._key(channel, 1, -1)

    def same_place(self, axis: str, side: int | None = None, sharp: float = 1.0) -> None:
        """A kernel one token wide, centred on the token, or on its neighbour at minus the signal in channel `side`."""
        for index, strength in enumerate((12.0, 10.0, 6.0)):
            channel, angle = pair(axis, index), 10000 ** (-index / 8)
            self._key(channel, 1, 1)
            if side is None:
                self.query_bias[channel] += strength * sharp * LOGIT
            else:
                self.query_bias[channel] += strength * sharp * LOGIT * math.cos(angle)
                self.query[channel + 1, side] -= strength * sharp * LOGIT * math.sin(angle)
                self.query[channel + 1, ZERO] += strength * sharp * LOGIT * math.sin(angle)

    def balance(self, axis: str, slope: float) -> None:
        """Frame 0 against the token's own frame: the logit of frame 0 falls by `slope` a token along the axis."""
        own = (12.0, 10.0, 6.0)
        for index, strength in enumerate(own):
            self.query_bias[pair("t", index)] += strength * LOGIT
            self._key(pair("t", index), 0, 1)
        channel = pair("t", 7)
        self.query_bias[channel] += sum(own) / 2 * LOGIT
        self._key(channel, 1, -1)
        channel, angle = pair(axis, 3), 10000 ** (-3 / 8)
        phase = 10 * angle if axis == "t" else 0.0
        self.query_bias[channel] += slope / angle * math.sin(phase) * LOGIT
        self.query_bias[channel + 1] += slope / angle * math.cos(phase) * LOGIT
        self._key(channel, 1, 0)

    def carry(self, sources: list[int], targets: list[int], scale: float = 1.0) -> None:
        """Values: the channels `sources`, written to `targets` times `scale`."""
        for slot, (source, target) in enumerate(zip(sources, targets, strict=True)):
            self.value[slot, source] += 1
            self.value[slot, ZERO] -= 1
            self.out[target, slot] += scale


@torch.no_grad()
def put(attention: nn.Module, heads: list[Head | None]) -> None:
    """Fill a self-attention. Heads given as None keep small random queries and write nothing yet."""
    rms_q = rms_k = 0.0
    for number, head in enumerate(heads):
        rows = slice(number * HEAD, (number + 1) * HEAD)
        attention.to_out[0].weight[:, rows] = 0
        if head is None:
            head = Head()
            head.only_first_frame(6)
            head.same_place("x", sharp=0.3)
            head.same_place("y", sharp=0.3)
            head.value[:] = torch.randn(HEAD, WIDTH) * 0.1
            head.value[:, :F0] = head.value[:, PLUS:] = 0
        attention.to_q.weight[rows], attention.to_q.bias[rows] = head.query, head.query_bias
        attention.to_k.weight[rows], attention.to_k.bias[rows] = head.key, head.key_bias
        attention.to_v.weight[rows] = head.value
        attention.to_out[0].weight[:, rows] = head.out
        first = head.key_bias + head.key[:, FIRST]
        others = head.key_bias
        filler = pair("t", 6)  # both kinds of token get keys of one length, so the norm changes nothing
        missing = float((first**2).sum() - (others**2).sum())
        a, b = (0.0, missing) if missing > 0 else (-missing, 0.0)
        attention.to_k.bias[number * HEAD + filler] = math.sqrt(b)
        attention.to_k.weight[number * HEAD + filler, FIRST] = math.sqrt(a) - math.sqrt(b)
        attention.to_k.weight[number * HEAD + filler, ZERO] = math.sqrt(b) - math.sqrt(a)
        rms_q += float((head.query_bias**2).sum())
        rms_k += float((first**2).sum()) + a
    attention.to_v.bias.zero_()
    attention.to_out[0].bias.zero_()
    attention.norm_q.weight.fill_(math.sqrt(rms_q / WIDTH))
    attention.norm_k.weight.fill_(math.sqrt(rms_k / WIDTH))


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


def moving_tokens(codec: Codec, axis: str, sign: int, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    """Own and neighbour's values (N, 64 + BESIDE), the moved ones (N, 64) and the way gone, for many pictures."""
    generator, rng = torch.Generator().manual_seed(len(axis) + sign), random.Random(sign)
    for _ in range(count):
        picture = data.random_picture(generator, 112, 176)
        ways = [0.0, 0.0, *(rng.uniform(0, 1.6) for _ in range(8))]
        motion = Motion(dx=sign * PIXELS * 20) if axis == "x" else Motion(dy=sign * PIXELS * 20)
        left, top = rng.randint(0, picture.shape[2] - 176), rng.randint(0, picture.shape[1] - 112)
        z = codec.encode(data.moving_crop(picture, motion, ways, 112, 176, left, top))
        tokens = F.pixel_unshuffle(z, 2).permute(0, 2, 3, 1)
        beside = torch.roll(tokens[0], sign, 1 if axis == "x" else 0)[..., :BESIDE]
        inputs = torch.cat([tokens[0], beside], -1)[2:-2, 2:-2].flatten(0, 1)
        for way, moved in zip(ways, tokens, strict=True):
            yield inputs, moved[2:-2, 2:-2].flatten(0, 1), way


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
    for inputs, moved, way in moving_tokens(codec, axis, sign, pictures):
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
    for inputs, moved, way in moving_tokens(codec, axis, sign, pictures):
        content, z = torch.einsum("mri,ni->nmr", listening, inputs), (STEEP * (way - marks))[None, :, None]
        features = F.gelu(z + content, approximate="tanh") - F.gelu(z - content, approximate="tanh")
        features = features.flatten(1).double()
        gram += features.T @ features
        cross += features.T @ (moved - inputs[:, :64]).double()
        total += float(((moved - inputs[:, :64]) ** 2).sum())
    ridge = 1e-4 * gram.diagonal().mean() * torch.eye(size).double()
    speaking = torch.linalg.solve(gram + ridge, cross)
    explained = float(2 * (speaking * cross).sum() - (speaking * (gram @ speaking)).sum())
    print(
        f"shift along {axis} {sign:+d}: {100 * (1 - explained / total):.1f} % of a still copy's error is left",
        flush=True,
    )
    inner, outer = ffn.net[0].proj, ffn.net[2]
    side, gone = (RX, GONE_X) if axis == "x" else (RY, GONE_Y)
    sources = [*range(F0, F0 + 64), *range(side, side + BESIDE)]
    for half, half_sign in enumerate((1, -1)):
        rows = torch.arange(size) + unit + half * size
        inner.weight[rows] = 0
        inner.weight[rows[:, None], torch.tensor(sources)[None]] = half_sign * listening.flatten(0, 1)
        inner.weight[rows, gone] = sign * STEEP
        inner.weight[rows, FIRST] = -40.0  # the first frame stays as it is
        inner.weight[rows, ZERO] = -half_sign * listening.flatten(0, 1).sum(1) - sign * STEEP + 40
        inner.bias[rows] = -STEEP * marks.repeat_interleave(RANK)
        outer.weight[F0 : F0 + 64, rows] = half_sign * speaking.T.float()


SCALED = [*range(X, X + 72), *range(F0, F0 + 64), *OUT, EMPTY]  # the last modulation divides these by σ
TIMES = torch.cat([torch.linspace(10, 999.9, 1500), torch.linspace(880, 999.9, 300)])


def solve(features: torch.Tensor, wanted: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
    """Weights and, last, biases that make `wanted` (N, K) from features (N, M) with the least squares."""
    features = torch.cat([features, torch.ones(len(features), 1)], 1).double() * importance
    ridge = 1e-7 * torch.eye(features.shape[1]).double() * len(features)
    return torch.linalg.solve(features.T @ features + ridge, features.T @ (wanted.double() * importance))


@torch.no_grad()
def put_noise_level(model: WanTransformer3DModel) -> None:
    """1/σ for the last modulation and `reading` for the course channels, by least squares through the time layers."""
    embedder, times = model.condition_embedder, TIMES
    waves = embedder.timesteps_proj(times)
    linear1, linear2 = embedder.time_embedder.linear_1, embedder.time_embedder.linear_2
    slow = 10000 ** (-torch.arange(128) / 128) < 0.02
    linear1.weight.normal_(0, 0.4).mul_(torch.cat([slow, slow]))
    linear1.bias.normal_(0, 0.5)
    hidden = F.silu(linear1(waves)).double()
    sigma = times.double() / 1000
    inverse = 1 / sigma.clamp(min=0.02)
    solution = solve(hidden, (SPREAD * (inverse - 1))[:, None], (1 / inverse)[:, None])
    linear2.weight.normal_(0, 0.15)
    linear2.bias.normal_(0, 0.5)
    linear2.weight[SCALED] = solution[:-1].T.float()
    linear2.bias[SCALED] = solution[-1].float()
    temb = embedder.time_embedder(waves)
    features = F.silu(temb).double()
    features[:, SCALED] = 0
    gain, trust = reading(sigma)
    embedder.time_proj.weight.zero_()
    embedder.time_proj.bias.zero_()
    listened = [*range(X + 4 * IMAGE, X + 72), EMPTY]
    for part, channels, factor in ((1, listened, gain), (4, [*ASKED, EMPTY], 1 - trust)):
        solution = solve(features, (SPREAD * (factor - 1))[:, None], torch.ones_like(sigma)[:, None])
        rows = [part * WIDTH + channel for channel in channels]
        weights = solution[:-1].T.float().clone()
        weights[:, SCALED] = 0
        embedder.time_proj.weight[rows] = weights
        embedder.time_proj.bias[rows] = solution[-1].float()
        error = (features @ solution[:-1] + solution[-1] - (SPREAD * (factor - 1))[:, None]) / SPREAD
        print(f"a factor of the noise level up to {factor.max():.2f}: rms error {error.square().mean().sqrt():.4f}")


def reading(sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the mean of the noisy course channels tells at a noise level: the factor that makes it (1) a share of the
    course, and that share.

    The course of a clip is normal about the one asked for, with deviation TAKE; the mean over all places is it times
    (1 - σ) TAG plus noise of deviation σ SPECK. The expected course, given both, is asked + share · (read - asked).
    """
    signal, noise = (1 - sigma) * TAG, sigma * SPECK
    gain = signal * TAKE**2 / (signal**2 * TAKE**2 + noise**2)
    return gain, gain * signal


@torch.no_grad()
def put_trust(model: WanTransformer3DModel, codec: Codec, clips: int = 60) -> None:
    """How far each latent channel of the moved picture is trusted at each noise level, by least squares.

    While the course is uncertain so is the place of everything fine: the squared error is least where a channel is
    multiplied by less than 1, the less the finer it is. Measured on training clips against the gain at low noise.
    """
    rng, generator = random.Random(3), torch.Generator().manual_seed(3)
    levels = torch.tensor([0.1, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.87, 0.92])
    unsure = 1 - reading(levels)[1]
    rope, products, squares = model.rope, torch.zeros(len(levels), IMAGE), torch.zeros(len(levels), IMAGE)
    model.rope = FramesRope(rope)
    for _ in range(clips // 6):
        model.rope.frames = sorted([0, *rng.sample(range(1, 21), 3)])
        courses = [random_course(rng) for _ in range(6)]
        latents, condition, prompt = make_batch(codec, generator, rng, (208, 128), model.rope.frames, courses)
        noise = make_noise(latents, generator)
        for row, sigma in enumerate(levels.tolist()):
            noisy = (1 - sigma) * latents + sigma * noise
            level = torch.full((6,), 1000 * sigma)
            velocity = model(torch.cat([noisy, condition], 1), level, prompt, return_dict=False)[0]
            true, clean = latents[:, :IMAGE, 1:], (noisy - sigma * velocity)[:, :IMAGE, 1:]
            products[row] += (true * clean).sum((0, 2, 3, 4))
            squares[row] += (clean * clean).sum((0, 2, 3, 4))
    model.rope = rope
    gains = products / squares
    lost = 1 - gains / gains[:2].mean(0)
    basis = torch.stack([unsure, unsure**2], 1).double()
    curves = torch.linalg.lstsq(basis, lost.double()).solution  # (2, IMAGE)
    print("trust at σ 0.83:", [round(x, 2) for x in (1 - _lost(curves, torch.tensor([0.83])))[0].tolist()])
    embedder = model.condition_embedder
    features = F.silu(embedder.time_embedder(embedder.timesteps_proj(TIMES))).double()
    features[:, SCALED] = 0
    trust = (1 - _lost(curves, TIMES / 1000)).clamp(0, 1)
    solution = solve(features, trust - 1, torch.ones(len(TIMES), 1)).float()
    solution[:-1][SCALED] = 0
    for channel in range(IMAGE):
        rows = 2 * WIDTH + F0 + 4 * channel + torch.arange(4)  # the gate of what an attention adds: block 0 copies here
        embedder.time_proj.weight[rows] = solution[:-1, channel]
        embedder.time_proj.bias[rows] = solution[-1, channel]


def _lost(curves: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    unsure = 1 - reading(sigma.double())[1]
    return torch.stack([unsure, unsure**2], 1) @ curves


@torch.no_grad()
def construct(expert: str, codec: Codec | None = None) -> WanTransformer3DModel:
    """The start of training: a copy of the picture with the course in place; the shifts too if there is a codec."""
    torch.manual_seed(11 if expert == "high" else 12)
    model = build_transformer(HIGH_NOISE if expert == "high" else LOW_NOISE)
    embed = model.patch_embedding
    embed.weight.zero_()
    embed.bias.zero_()
    for position in range(4):
        y, x = divmod(position, 2)
        for channel in range(Z_DIM):
            embed.weight[X + channel * 4 + position, channel, 0, y, x] = 1
        for channel in range(IMAGE):
            embed.weight[RX + channel * 4 + position, Z_DIM + 4 + channel, 0, y, x] = 1
        embed.weight[FIRST, Z_DIM, 0, y, x] = 0.25
        embed.weight[TIME, Z_DIM, 0, y, x] = 0.25 * 0.269 / 0.462
    embed.bias[PLUS], embed.bias[MINUS], embed.bias[TIME] = LARGE, -LARGE, 0.731 / 0.462
    put_noise_level(model)
    natural = torch.full((WIDTH,), SPREAD)
    natural[[PLUS, MINUS]] = SPREAD / LARGE
    for block in model.blocks:
        block.scale_shift_table.zero_()
        block.scale_shift_table[0, 1] = block.scale_shift_table[0, 4] = natural - 1
        block.scale_shift_table[0, 2] = block.scale_shift_table[0, 5] = 1
        block.norm2.weight.copy_(natural)
        block.attn2.to_out[0].weight.zero_()
        block.attn2.to_out[0].bias.zero_()
        inner, outer = block.ffn.net[0].proj, block.ffn.net[2]
        inner.weight.mul_(2)
        inner.weight[:, :F0] *= 0.1
        inner.weight[:, PLUS:] *= 6
        inner.weight[:, [PLUS, MINUS, EMPTY]] = 0
        outer.weight.zero_()
        outer.bias.zero_()
    _put_block0(model, expert)
    if expert == "low":
        sideways, upright = Head(), Head()
        sideways.only_first_frame()
        sideways.same_place("x", SIDE_X, sharp=1.5)
        sideways.same_place("y")
        sideways.carry(list(range(F0, F0 + BESIDE)), list(range(RX, RX + BESIDE)))
        upright.same_place("t")  # of its own frame, already shifted sideways
        upright.same_place("x")
        upright.same_place("y", SIDE_Y, sharp=1.5)
        upright.carry(list(range(F0, F0 + BESIDE)), list(range(RY, RY + BESIDE)))
        rest = Head()  # the finest latent channels, for which block 0 has no head left
        rest.only_first_frame()
        rest.same_place("x")
        rest.same_place("y")
        rest.carry(list(range(RX + 48, RX + 64)), list(range(F0 + 48, F0 + 64)))
        for block, axis, head in ((model.blocks[1], "x", sideways), (model.blocks[2], "y", upright)):
            put(block.attn1, [head, rest if axis == "x" else None, None, None, None])
            for half, sign in enumerate((1, -1)):
                if codec is not None:
                    put_shift(block.ffn, half * 2 * RANK * len(MARKS), codec, axis, sign)
    output = model.proj_out
    output.weight.zero_()
    output.bias.zero_()
    model.scale_shift_table.zero_()
    model.scale_shift_table[0, 1] = natural - 1
    for position in range(4):
        for channel in range(Z_DIM):
            row = position * Z_DIM + channel
            output.weight[row, X + channel * 4 + position] = 1
            if channel < IMAGE:
                output.weight[row, F0 + channel * 4 + position] = -1
            else:
                sign = PATTERN[position]
                output.weight[row, OUT[channel - IMAGE]] = -TAG
                output.weight[row, OUT_ZOOM] = -TAG * sign
                output.weight[row, EMPTY] = (
                    TAG * (1 + sign) - 1
                )  # a row's weights add up to zero: the modulation's shift cancels
    return model


def _put_block0(model: WanTransformer3DModel, expert: str) -> None:
    block = model.blocks[0]
    copies = []
    for low, high in ((0, 48), (48, 64)):
        copy = Head()
        copy.only_first_frame()
        copy.same_place("x")
        copy.same_place("y")
        copy.carry(list(range(RX + low, RX + high)), list(range(F0 + low, F0 + high)))
        copies.append(copy)
    mean = Head()
    mean.query_bias[pair("t", 7)] = 12 * LOGIT
    mean._key(pair("t", 7), -1, 1)
    for slot, (channel, target) in enumerate(((IMAGE, COURSE_X), (IMAGE + 1, COURSE_Y))):
        rows = slice(X + 4 * channel, X + 4 * channel + 4)
        mean.value[slot, rows] = 0.25
        mean.value[slot, EMPTY] = -1
        mean.out[target, slot] = 1
        mean.value[2, rows] = torch.tensor(PATTERN) / 8
    mean.out[ZOOM, 2] = 1
    _put_prompt(model)
    if expert == "high":
        put(block.attn1, [*copies, mean, None, None])
        for axis in range(3):
            put_gate(block.ffn, 2 * axis, axis)
        return
    clock = Head()
    clock.balance("t", 0.1)
    clock.carry([FIRST], [TIME], -1 / 0.462)
    places = []
    for axis, target, off in (("x", PLACE_X, 0.42), ("y", PLACE_Y, 0.16)):
        place = Head()
        place.balance(axis, 0.06)
        scale = 4 / 0.06 / 6  # in units of six tokens
        place.carry([FIRST], [target], scale)
        model.patch_embedding.bias[target] = -0.5 * scale - off / 6  # the mean of an exponential is a little high
        model.patch_embedding.weight[target, Z_DIM] = -0.125 * scale  # frame 0 has no other frame to weigh
        places.append(place)
    put(block.attn1, [clock, copies[0], mean, *places])
    strength = 6 * 16 * GROWTH / PIXELS

    def clipped(value: torch.Tensor, limit: float) -> torch.Tensor:
        return value / (1 + (value / limit) ** 6) ** (1 / 6)

    for half, (place_of, side, gone) in enumerate(((PLACE_X, SIDE_X, GONE_X), (PLACE_Y, SIDE_Y, GONE_Y))):
        start = half * 700
        put_clip(block.ffn, start, half, side, 0.3)
        put_function(
            block.ffn, start + 4, 96, half, 12, {TIME: (-0.05, 1.05)}, gone, lambda p: clipped(p[:, 0], FAST) * p[:, 1]
        )
        put_function(
            block.ffn,
            start + 100,
            300,
            2,
            12,
            {place_of: (-1.8, 1.8), TIME: (-0.05, 1.05)},
            gone,
            lambda p: -strength * clipped(p[:, 0], FAST) * p[:, 1] * p[:, 2],
        )
        put_function(
            block.ffn,
            start + 400,
            300,
            2,
            12,
            {place_of: (-1.8, 1.8)},
            side,
            lambda p: clipped(-strength * p[:, 0] * p[:, 1] / 0.3, 1),
        )
    for axis in range(3):
        put_gate(block.ffn, 1400 + 2 * axis, axis)


@torch.no_grad()
def _put_prompt(model: WanTransformer3DModel) -> None:
    """The prompt's course into the signal channels, from whichever token is no padding."""
    embedder = model.condition_embedder.text_embedder
    for layer in (embedder.linear_1, embedder.linear_2):
        layer.weight.zero_()
        layer.bias.zero_()
    code = directions() / math.sqrt(64)  # (5, 64): pan·SCALE, tilt·SCALE, zoom·SCALE, silent, always there
    for row in range(5):
        for sign, unit in ((1, row), (-1, 5 + row)):
            embedder.linear_1.weight[unit] = sign * code[row] * 2
            embedder.linear_2.weight[row, unit] = sign * 0.5
    # an axis is open where its course is asked for, all are where the prompt says nothing about the camera
    for axis in range(3):
        for number, (row, size, low, high) in enumerate(
            ((axis, SCALE, 0.12, 0.28), (axis, -SCALE, 0.12, 0.28), (3, 0.5, 0.3, 0.7))
        ):
            for end, (edge, sign) in enumerate(((low, 1), (high, -1))):
                unit = 10 + 6 * axis + 2 * number + end
                embedder.linear_1.weight[unit] = 40 * code[row] / size
                embedder.linear_1.bias[unit] = -40 * edge
                embedder.linear_2.weight[5 + axis, unit] = sign / (40 * (high - low))
    attention = model.blocks[0].attn2
    for layer in (attention.to_q, attention.to_k, attention.to_v, attention.to_out[0]):
        layer.weight.zero_()
        layer.bias.zero_()
    attention.to_q.bias.fill_(1)
    attention.norm_q.weight.fill_(1)
    attention.to_k.weight[:, 4] = 1
    attention.norm_k.weight.fill_(14 / LOGIT)
    for axis in range(3):
        attention.to_v.weight[axis, axis] = attention.to_v.weight[3 + axis, 5 + axis] = 1
        attention.to_out[0].weight[ASKED[axis], axis] = 1 / SCALE
        attention.to_out[0].weight[OPEN[axis], 3 + axis] = 1


class FramesRope(nn.Module):
    """The model's rotary embedding for a subset of the frames, at their true positions in a clip of 21."""

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope = rope
        self.frames: list[int] = list(range(21))

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        whole = torch.empty(1, 1, 21, *hidden.shape[3:], device="meta")
        tokens = (hidden.shape[3] // 2) * (hidden.shape[4] // 2)
        cos, sin = self.rope(whole)
        return tuple(part.unflatten(1, (21, tokens))[:, self.frames].flatten(1, 2) for part in (cos, sin))


def course_field(pan: float, tilt: float, zoom: float, height: int, width: int) -> torch.Tensor:
    """(2, height/8, width/8): what the course channels of a clip hold at every frame."""
    pattern = torch.tensor(PATTERN).view(2, 2).repeat(height // 16, width // 16)
    return TAG * torch.stack([pan + zoom * pattern, tilt + zoom * pattern])


def take(asked: Course, rng: random.Random) -> tuple[float, float, float]:
    """The course a camera takes when it is asked for one: no two takes are the same, but what shall rest rests."""
    speeds = (asked.pan, asked.tilt, asked.zoom)
    return tuple(speed + TAKE * rng.gauss(0, 1) if speed or not asked.named else 0.0 for speed in speeds)  # type: ignore


def make_noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Unit noise; the means that carry the course are as small as those of a whole clip, whatever the crop."""
    noise = torch.randn(like.shape, generator=generator)
    pattern = torch.tensor(PATTERN).view(2, 2).repeat(like.shape[3] // 2, like.shape[4] // 2)
    for wave in (torch.ones_like(pattern), pattern):
        course = noise[:, IMAGE:, 1:]
        wanted = SPECK * torch.randn(len(like), 2, 1, 1, 1, generator=generator)
        noise[:, IMAGE:, 1:] += (wanted - (course * wave).mean((2, 3, 4), keepdim=True)) * wave
    return noise


def random_course(rng: random.Random) -> Course:
    """Pans and tilts of any speed, zooms, and stills; now and then none at all said."""
    speed = rng.choice((rng.uniform(0.2, FAST), SLOW, 1.0, FAST)) * rng.choice((-1, 1))
    draw = rng.random()
    if draw < 0.3:
        return Course(pan=speed)
    if draw < 0.55:
        return Course(tilt=speed)
    if draw < 0.88:
        return Course(zoom=speed)
    return Course(named=draw < 0.94)


def make_batch(
    codec: Codec,
    generator: torch.Generator,
    rng: random.Random,
    size: tuple[int, int],
    frames: list[int],
    courses: list[Course],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents (B, 18, T, h, w), condition (B, 22, T, h, w) as the pipeline builds it, and prompt states (B, 1, 64)."""
    width, height = size
    clips, fields, count = [], [], len(courses)
    for course in courses:
        pan, tilt, zoom = take(course, rng)
        motion = Motion(
            *(PIXELS * min(max(speed, -FAST), FAST) for speed in (pan, tilt)), min(max(zoom, -FAST), FAST) * GROWTH
        )
        picture = data.random_picture(generator, height + 24 * rng.randint(0, 1), width + 24 * rng.randint(0, 1))
        left, top = rng.randint(0, picture.shape[2] - width), rng.randint(0, picture.shape[1] - height)
        clips.append(data.moving_crop(picture, motion, frames, height, width, left, top))
        guided = rng.uniform(1, 4) if max(map(abs, (pan, tilt, zoom))) > FAST else 1.0
        fields.append(course_field(guided * pan, guided * tilt, guided * zoom, height, width))
    with torch.no_grad():
        coded = codec.encode(torch.stack(clips).flatten(0, 1)).unflatten(0, (count, len(frames))).transpose(1, 2)
    courses_in_latents = torch.stack(fields)[:, :, None].repeat(1, 1, len(frames), 1, 1)
    courses_in_latents[::2, :, 0] = 0  # frame 0 has no course; the experts must not rely on it
    latents = torch.cat([coded, courses_in_latents], dim=1)
    condition = torch.zeros(count, 4 + Z_DIM, *latents.shape[2:])
    condition[:, :4, 0] = 1
    condition[:, 4 : 4 + IMAGE, 0] = coded[:, :, 0]
    return latents, condition, meaning(courses)[:, None]


def draw_sigma(count: int, rng: random.Random) -> torch.Tensor:
    """Noise levels of the low-noise expert: the sampler's own below 0.9 (shift 5, uniform steps)."""
    steps = torch.tensor([rng.uniform(0.004, 0.643) for _ in range(count)])
    return 5 * steps / (1 + 4 * steps)


def choose_parameters(model: WanTransformer3DModel) -> dict[str, nn.Parameter]:
    """What learns: the feed-forward layers and values from the neighbours' block on, and only into picture channels.

    The constructed heads stand on large logits that cancel; at a useful rate they fall apart (NOTES.md), so they rest.
    """
    model.requires_grad_(False)
    picture = torch.zeros(WIDTH)
    picture[F0:PLUS] = 1
    chosen = {}
    for number, block in enumerate(model.blocks):
        if number == 0:
            continue
        parts = {"ffn": block.ffn, "attn1.to_v": block.attn1.to_v, "attn1.to_out": block.attn1.to_out}
        for part, module in parts.items():
            for name, parameter in module.named_parameters():
                chosen[f"blocks.{number}.{part}.{name}"] = parameter.requires_grad_(True)
        for last in (block.ffn.net[2], block.attn1.to_out[0]):
            last.weight.register_hook(lambda gradient: gradient * picture.to(gradient)[:, None])
            last.bias.register_hook(lambda gradient: gradient * picture.to(gradient))
    return chosen


@dataclass(frozen=True)
class Batch:
    """What one iteration sees, and what it should say: latents (B, 18, T, h, w) and σ (B, 1, 1, 1, 1)."""

    latents: torch.Tensor
    noisy: torch.Tensor
    condition: torch.Tensor
    prompt: torch.Tensor
    sigma: torch.Tensor


def draw_batch(
    codec: Codec, generator: torch.Generator, rng: random.Random, frames: list[int], options: argparse.Namespace
) -> Batch:
    """Noisy training clips. Often they hold no moved picture yet, but the still one the high-noise expert leaves."""
    courses = [random_course(rng) for _ in range(options.batch)]
    latents, condition, prompt = make_batch(codec, generator, rng, rng.choice(options.sizes), frames, courses)
    sigma = draw_sigma(options.batch, rng)[:, None, None, None, None]
    noise = make_noise(latents, generator)
    seen = latents.clone()
    stale = (torch.rand(len(seen), generator=generator) < 0.6) & (sigma.flatten() > rng.uniform(0.2, 0.9))
    seen[stale, :IMAGE] = latents[stale, :IMAGE, :1]
    return Batch(latents, (1 - sigma) * seen + sigma * noise, condition, prompt, sigma)


def squared_error(model: nn.Module, batch: Batch, device: str) -> torch.Tensor:
    """Of the clean latents that the velocity leads to, (B, 18, T, h, w); the course of frame 0 does not count."""
    inputs, level = torch.cat([batch.noisy, batch.condition], 1), 1000 * batch.sigma.flatten()
    velocity = model(inputs.to(device), level.to(device), batch.prompt.to(device), return_dict=False)[0].cpu()
    wrong = (batch.noisy - batch.sigma * velocity - batch.latents).square()
    wrong[:, IMAGE:, 0] = 0
    return wrong


def train(model: WanTransformer3DModel, codec: Codec, options: argparse.Namespace, step: int) -> None:
    """AdamW on the velocity's squared error times σ, from iteration `step` on; keeps `<runs>/low.pt`."""
    seed = options.seed + step
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.rope = FramesRope(model.rope)
    model.to(device)
    learning = choose_parameters(model)
    optimiser = torch.optim.AdamW(learning.values(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.0)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    errors, stills, start, first = [], [], time.time(), step
    while step < options.steps:
        warming, falling = min(1, (step - first + 1) / 50), min(1, 2.5 * (1 - step / options.steps) + 0.02)
        optimiser.param_groups[0]["lr"] = options.rate * warming * falling
        model.rope.frames = sorted([0, *rng.sample(range(1, 21), options.frames)])
        batch = draw_batch(codec, generator, rng, model.rope.frames, options)
        wrong = squared_error(model, batch, device)
        loss = (wrong / batch.sigma.clamp(min=0.1)).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning.values(), 1.0)
        optimiser.step()
        step += 1
        keep = min(0.998, (step - first) / (step - first + 10))
        with torch.no_grad():
            for name, value in learning.items():
                average[name].lerp_(value, 1 - keep)
        picture = batch.latents[:, :IMAGE]
        errors.append(wrong[:, :IMAGE].detach().mean().item())
        stills.append((picture[:, :, :1] - picture).square().mean().item())
        if step % 50 == 0 or step == options.steps:
            print(
                f"{time.time() - start:5.0f} s {step:6d} loss {loss.item():.4f} image error / still copy's"
                f" {sum(errors[-50:]) / sum(stills[-50:]):.3f}"
                f" course {wrong[:, IMAGE:].detach().mean().item():.4f}",
                flush=True,
            )
            kept = {name: value.cpu() for name, value in average.items()}
            torch.save({"model": _plain(model), "average": kept, "step": step}, options.runs / "low.pt")


def _plain(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("expert", choices=("high", "low"))
    parser.add_argument("--runs", type=Path, default=Path(__file__).parent / "runs")
    parser.add_argument("--steps", type=int, default=3500, help="iterations in all, those of an earlier run counted in")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=3, help="frames of a clip besides the first, of 20")
    parser.add_argument(
        "--sizes", type=lambda s: [tuple(map(int, p.split("x"))) for p in s.split(",")], default=[(160, 96)]
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write safetensors (fp16) here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.expert == "high":
        model = construct("high")  # whole as it is constructed: there is nothing left for training to find
    else:
        codec = Codec()
        codec.load_state_dict(torch.load(options.runs / "vae" / "codec.pt")["model"])
        codec.requires_grad_(False)
        file = options.runs / "low.pt"
        if not file.exists():
            start = _plain(construct("low", codec))
            torch.save({"model": start, "average": start, "step": 0}, file)
        kept = torch.load(file)
        model = construct("low")
        model.load_state_dict(kept["model"])
        train(model, codec, options, kept["step"])
        model = construct("low")
        model.load_state_dict(torch.load(file)["average"])
        put_trust(model, codec)
    if options.out:
        save(model, options.out)


def save(model: WanTransformer3DModel, file: Path) -> None:
    """fp16, but for the time layers: their least-squares weights cancel each other."""
    tensors = model.state_dict()
    exact = {name: tensor if "time_embedder" in name else tensor.half() for name, tensor in tensors.items()}
    save_file({name: tensor.contiguous() for name, tensor in exact.items()}, file)


if __name__ == "__main__":
    main()
