"""The constructed start of the miniature's two experts; `dit.py` trains the low-noise one from here.

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
- While a noise level leaves the course uncertain, the expected picture is a mean over several: the marks are passed
  smoothly (`certainty`), what moves is blurred along its way, and it sharpens as the noise falls.
- The output is (X - picture) / σ, the flow-matching velocity, with 1/σ in the last modulation.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from channels import (
    ASKED,
    BESIDE,
    BLURRED,
    COURSE_X,
    COURSE_Y,
    EMPTY,
    F0,
    FIRST,
    GONE_X,
    GONE_Y,
    GROWTH,
    LARGE,
    MINUS,
    OPEN,
    OUT,
    OUT_ZOOM,
    PATTERN,
    PIXELS,
    PLACE_X,
    PLACE_Y,
    PLUS,
    REST_X,
    REST_Y,
    RX,
    RY,
    SIDE_X,
    SIDE_Y,
    SPREAD,
    TAG,
    TIME,
    WIDTH,
    ZOOM,
    X,
    certainty,
    reading,
)
from diffusers import WanTransformer3DModel
from heads import LOGIT, Head, pair, put
from prompts import FAST
from text import SCALE, directions
from units import MARKS, RANK, put_clip, put_function, put_gate, put_rest, put_shift
from vae import IMAGE, Codec

from wan_core.engine.miniature.architecture import HIGH_NOISE, LOW_NOISE, Z_DIM
from wan_core.engine.miniature.build import build_transformer

SCALED = [*range(X, X + 72), *range(F0, F0 + 64), *OUT, EMPTY]  # the last modulation divides these by σ
TIMES = torch.cat([torch.linspace(10, 999.9, 1500), torch.linspace(880, 999.9, 300)])


def solve(features: torch.Tensor, wanted: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
    """Weights and, last, biases that make `wanted` (N, K) from features (N, M) with the least squares."""
    features = torch.cat([features, torch.ones(len(features), 1)], 1).double() * importance
    ridge = 1e-7 * torch.eye(features.shape[1]).double() * len(features)
    return torch.linalg.solve(features.T @ features + ridge, features.T @ (wanted.double() * importance))


@torch.no_grad()
def put_noise_level(model: WanTransformer3DModel) -> None:
    """1/σ for the last modulation, `reading` for the course channels and `certainty` for the shifts, by least squares
    through the time layers."""
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
    for part, channels, natural, factor in (
        (1, [*range(X + 4 * IMAGE, X + 72), EMPTY], SPREAD, gain),
        (4, [*ASKED, EMPTY], SPREAD, 1 - trust),
        (4, [GONE_X, GONE_Y, BLURRED], SPREAD, certainty(sigma)),
        (4, [PLUS], SPREAD / LARGE, certainty(sigma)),
    ):
        solution = solve(features, (natural * (factor - 1))[:, None], torch.ones_like(sigma)[:, None])
        rows = [part * WIDTH + channel for channel in channels]
        weights = solution[:-1].T.float().clone()
        weights[:, SCALED] = 0
        embedder.time_proj.weight[rows] = weights
        embedder.time_proj.bias[rows] = solution[-1].float()
        error = (features @ solution[:-1] + solution[-1]) / natural - (factor - 1)[:, None]
        print(f"a factor of the noise level up to {factor.max():.2f}: rms error {error.square().mean().sqrt():.4f}")


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
    put_rest(block.ffn, 1406, 0, REST_X)
    put_rest(block.ffn, 1407, 1, REST_Y)


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
