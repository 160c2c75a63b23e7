"""The constructed start of the miniature's two experts; `dit.py` trains the low-noise one from here.

A small transformer trained from random weights spends hours before it moves the picture at all (NOTES.md). So the
attention heads are written down, and gradient descent learns what they feed:

- `channels.py` says what a token holds. A large constant pair makes the LayerNorms nearly linear.
- Block 0 copies the picture from frame 0 to every frame and finds the frame number and the place in the picture, each
  as the balance of a softmax between frame 0 and the token's own frame (RoPE knows only differences of positions).
- Two latent channels carry the camera's course (`course.py`). A clip's course is normal about the one the prompt asks
  for; both experts give its expected value, from the prompt and from the mean of the noisy channels, and the sampler
  draws it. The low-noise expert moves the picture accordingly.
- A prompt that names a move opens its axis, one that says nothing about the camera opens all, "static" shuts them.
- Block 1 fetches the neighbour sideways and shifts by fractions of a token (`shift.py`), block 2 the same upright.
- While a noise level leaves the course uncertain, the expected picture is a mean over several: the marks are passed
  smoothly (`course.certainty`), what moves is blurred along its way, and it sharpens as the noise falls.
- The output is (noisy - picture) / σ, the flow-matching velocity, with 1/σ in the last modulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformerBlock

from training.channels import CHANNELS, HEAD, LARGE, Direction
from training.codec import IMAGE_DIM, Codec
from training.course import COURSE_LEVEL, PAN_PIXELS, ZOOM_GROWTH, ZOOM_PATTERN
from training.heads import Head, put_heads
from training.modulation import (
    ATTENTION_GATE,
    ATTENTION_SCALE,
    FEED_FORWARD_GATE,
    FEED_FORWARD_SCALE,
    natural_scale,
    put_noise_level,
)
from training.prompt_reading import put_prompt
from training.prompts import FAST
from training.shift import PICTURES, put_shift
from training.units import FIT_STEPS, Function, Units, put_clip, put_function, put_gate, put_rest
from wan_core.engine.miniature import architecture, build

TOKEN_PIXELS = 16

CLOCK_SLOPE = 0.1  # of a logit a frame: it falls from 1 in frame 0 to -1 in frame 20
SHARE_FIRST, SHARE_LAST = 0.731, 0.269  # sigmoid(1), sigmoid(-1): the clock's share of frame 0 in frames 0 and 20
SHARE_RANGE = SHARE_FIRST - SHARE_LAST
PLACE_SLOPE = 0.06  # of a logit a token
PLACE_UNIT = 6  # tokens
PLACE_SCALE = 4 / PLACE_SLOPE / PLACE_UNIT  # a sigmoid falls by a quarter of its logit
PLACE_OFFSET = {"x": 0.42, "y": 0.16}  # tokens; the mean of an exponential is a little high
ZOOM_SPEED = PLACE_UNIT * TOKEN_PIXELS * ZOOM_GROWTH / PAN_PIXELS  # in normal pans, one unit from the middle

SIDE_KNEE = 0.3  # the course at which the neighbour is fetched from a whole token away
WIDEST_COURSE, PLACES, TIMES = 12.0, (-1.8, 1.8), (-0.05, 1.05)  # where functions of them are fitted
PAN_UNITS, ZOOM_UNITS = 96, 300  # hidden units of a function

COARSE, FINE = slice(0, HEAD), slice(HEAD, 4 * IMAGE_DIM)  # what one head can carry of the picture, and the rest


@dataclass(frozen=True)
class Effort:
    """How much the least-squares fits look at; tests take less than this.

    Three pictures at least: two hold fewer tokens than a mark has contents, and the solution is not finite.
    """

    pictures: int = PICTURES
    fit_steps: int = FIT_STEPS


FULL_EFFORT = Effort()


@torch.no_grad()
def construct_high_noise() -> WanTransformer3DModel:
    """The expert that gives the expected course, and the picture as it is. Takes torch's global seed."""
    model = _start(architecture.HIGH_NOISE, seed=11)
    block = model.blocks[0]
    put_heads(block.attn1, [copy_condition(COARSE), copy_condition(FINE), read_mean_course()])
    put_gates(Units.of_block(block))
    put_output(model)
    return model


@torch.no_grad()
def construct_low_noise(codec: Codec, effort: Effort = FULL_EFFORT) -> WanTransformer3DModel:
    """The expert that moves the picture along the expected course, in `codec`'s latents. Takes torch's global seed."""
    model = _start(architecture.LOW_NOISE, seed=12)
    put_places(model)
    places = [read_place(direction) for direction in (CHANNELS.sideways, CHANNELS.upright)]
    put_heads(model.blocks[0].attn1, [read_time(), copy_condition(COARSE), read_mean_course(), *places])
    put_movement(model.blocks[0], effort.fit_steps)
    put_heads(model.blocks[1].attn1, [fetch_sideways(), copy_condition(FINE)])  # block 0 has no head left for FINE
    put_shifts(model.blocks[1], codec, CHANNELS.sideways, effort.pictures)
    put_heads(model.blocks[2].attn1, [fetch_upright()])
    put_shifts(model.blocks[2], codec, CHANNELS.upright, effort.pictures)
    put_output(model)
    return model


def _start(sizes: dict[str, Any], seed: int) -> WanTransformer3DModel:
    """What both experts share, from random weights."""
    torch.manual_seed(seed)
    model = build.build_transformer(sizes)
    put_embedding(model)
    put_noise_level(model)
    for block in model.blocks:
        reset_block(block)
    put_prompt(model)
    return model


def put_embedding(model: WanTransformer3DModel) -> None:
    """Latents and the first picture's latents into their channels; the mask, 1 in frame 0, into its own."""
    embed, mask = model.patch_embedding, architecture.Z_DIM
    embed.weight.zero_()
    embed.bias.zero_()
    for position in range(4):
        y, x = divmod(position, 2)
        for channel in range(architecture.Z_DIM):
            embed.weight[CHANNELS.noisy[channel * 4 + position], channel, 0, y, x] = 1
        for channel in range(IMAGE_DIM):
            embed.weight[CHANNELS.condition[channel * 4 + position], mask + 4 + channel, 0, y, x] = 1
        embed.weight[CHANNELS.first_frame, mask, 0, y, x] = 0.25
        embed.weight[CHANNELS.time, mask, 0, y, x] = 0.25 * SHARE_LAST / SHARE_RANGE  # frame 0 sees only itself
    embed.bias[CHANNELS.plus], embed.bias[CHANNELS.minus] = LARGE, -LARGE
    embed.bias[CHANNELS.time] = SHARE_FIRST / SHARE_RANGE


def reset_block(block: WanTransformerBlock) -> None:
    """LayerNorms that change nothing, a cross-attention and a feed-forward layer that say nothing yet."""
    natural = natural_scale()
    block.scale_shift_table.zero_()
    block.scale_shift_table[0, ATTENTION_SCALE] = block.scale_shift_table[0, FEED_FORWARD_SCALE] = natural - 1
    block.scale_shift_table[0, ATTENTION_GATE] = block.scale_shift_table[0, FEED_FORWARD_GATE] = 1
    block.norm2.weight.copy_(natural)
    block.attn2.to_out[0].weight.zero_()
    block.attn2.to_out[0].bias.zero_()
    inner, outer = block.ffn.net[0].proj, block.ffn.net[2]
    inner.weight.mul_(2)
    inner.weight[:, : CHANNELS.picture.start] *= 0.1
    inner.weight[:, CHANNELS.plus :] *= 6
    inner.weight[:, [CHANNELS.plus, CHANNELS.minus, CHANNELS.empty]] = 0
    outer.weight.zero_()
    outer.bias.zero_()


def copy_condition(part: slice) -> Head:
    """A head that copies a part of the first picture's latents, at most HEAD channels, to every frame."""
    head = Head()
    head.see_first_frame()
    head.see_place("x")
    head.see_place("y")
    head.carry(CHANNELS.condition[part], CHANNELS.picture[part])
    return head


def read_mean_course() -> Head:
    """A head that reads the course: the mean of the noisy course channels over all places of all later frames."""
    head = Head()
    head.see_later_frames()
    for slot, axis in enumerate((CHANNELS.pan, CHANNELS.tilt)):
        places = CHANNELS.noisy_course[4 * slot : 4 * slot + 4]
        head.value[slot, places] = 0.25
        head.value[slot, CHANNELS.empty] = -1
        head.out[axis.read, slot] = 1
        head.value[2, places] = torch.tensor(ZOOM_PATTERN) / 8
    head.out[CHANNELS.zoom.read, 2] = 1
    return head


def fetch_sideways() -> Head:
    """A head that fetches the leading latents of the neighbour to the side, from frame 0."""
    head, direction = Head(), CHANNELS.sideways
    head.see_first_frame()
    head.see_place("x", direction.side, sharp=1.5)
    head.see_place("y")
    head.carry(CHANNELS.picture[: len(direction.neighbour)], direction.neighbour)
    return head


def fetch_upright() -> Head:
    """The same upwards and downwards, from the token's own frame, which has been shifted sideways already."""
    head, direction = Head(), CHANNELS.upright
    head.see_place("t")
    head.see_place("x")
    head.see_place("y", direction.side, sharp=1.5)
    head.carry(CHANNELS.picture[: len(direction.neighbour)], direction.neighbour)
    return head


def read_time() -> Head:
    """A head whose share of frame 0 tells the frame number; `put_embedding` adds what makes it 0 … 1."""
    head = Head()
    head.balance_frames("t", CLOCK_SLOPE)
    head.carry([CHANNELS.first_frame], [CHANNELS.time], -1 / SHARE_RANGE)
    return head


def read_place(direction: Direction) -> Head:
    """A head whose share of frame 0 tells the place; `put_places` adds what makes it 0 in the middle."""
    head = Head()
    head.balance_frames(direction.axis, PLACE_SLOPE)
    head.carry([CHANNELS.first_frame], [direction.place], PLACE_SCALE)
    return head


def put_places(model: WanTransformer3DModel) -> None:
    """The embedding gets what `read_place` lacks."""
    for direction in (CHANNELS.sideways, CHANNELS.upright):
        offset = PLACE_OFFSET[direction.axis] / PLACE_UNIT
        model.patch_embedding.bias[direction.place] = -0.5 * PLACE_SCALE - offset
        # frame 0 has no other frame to weigh; four places of a token add this
        model.patch_embedding.weight[direction.place, architecture.Z_DIM] = -0.125 * PLACE_SCALE


def put_movement(block: WanTransformerBlock, fit_steps: int) -> None:
    """Which neighbour a place needs and how far its content has gone, from the expected course; the course goes out."""
    units = Units.of_block(block)
    for axis, direction in ((CHANNELS.pan, CHANNELS.sideways), (CHANNELS.tilt, CHANNELS.upright)):
        at_time, at_place = {CHANNELS.time: TIMES}, {direction.place: PLACES}
        pan_way = Function(PAN_UNITS, axis, WIDEST_COURSE, at_time, find_pan_way)
        zoom_way = Function(ZOOM_UNITS, CHANNELS.zoom, WIDEST_COURSE, at_place | at_time, find_zoom_way)
        zoom_side = Function(ZOOM_UNITS, CHANNELS.zoom, WIDEST_COURSE, at_place, find_zoom_side)
        put_clip(units, axis, direction.side, SIDE_KNEE)
        put_function(units, pan_way, direction.gone, fit_steps)
        put_function(units, zoom_way, direction.gone, fit_steps)
        put_function(units, zoom_side, direction.side, fit_steps)
    put_gates(units)
    put_rest(units, CHANNELS.pan, CHANNELS.sideways.rests)
    put_rest(units, CHANNELS.tilt, CHANNELS.upright.rests)


def find_pan_way(points: torch.Tensor) -> torch.Tensor:
    """Of a pan or tilt: (N, 2) of speed and time → (N,) normal pans gone."""
    return clip_softly(points[:, 0], FAST) * points[:, 1]


def find_zoom_way(points: torch.Tensor) -> torch.Tensor:
    """Of a zoom: (N, 3) of speed, place and time → (N,) normal pans that the content at this place has gone."""
    return -ZOOM_SPEED * clip_softly(points[:, 0], FAST) * points[:, 1] * points[:, 2]


def find_zoom_side(points: torch.Tensor) -> torch.Tensor:
    """Of a zoom: (N, 2) of speed and place → (N,) the neighbour to fetch, -1 … 1."""
    return clip_softly(-ZOOM_SPEED * points[:, 0] * points[:, 1] / SIDE_KNEE, 1)


def clip_softly(value: torch.Tensor, limit: float) -> torch.Tensor:
    """To [-limit, limit], with round knees, which a few hidden units can follow."""
    return value / (1 + (value / limit) ** 6) ** (1 / 6)


def put_gates(units: Units) -> None:
    for axis in CHANNELS.axes:
        put_gate(units, axis)


def put_shifts(block: WanTransformerBlock, codec: Codec, direction: Direction, pictures: int) -> None:
    """Every hidden unit of the block: half of them for each way along the direction."""
    units = Units.of_block(block)
    for sign in (1, -1):
        put_shift(units, codec, direction, sign, pictures)


def put_output(model: WanTransformer3DModel) -> None:
    """noisy - picture, and noisy - course in the course channels; the last modulation divides by σ.

    A row's weights add up to zero: the modulation's shift cancels.
    """
    output = model.proj_out
    output.weight.zero_()
    output.bias.zero_()
    model.scale_shift_table.zero_()
    model.scale_shift_table[0, 1] = natural_scale() - 1
    for position, sign in enumerate(ZOOM_PATTERN):
        for channel in range(architecture.Z_DIM):
            row = output.weight[position * architecture.Z_DIM + channel]
            row[CHANNELS.noisy[channel * 4 + position]] = 1
            if channel < IMAGE_DIM:
                row[CHANNELS.picture[channel * 4 + position]] = -1
            else:
                row[(CHANNELS.pan, CHANNELS.tilt)[channel - IMAGE_DIM].out] = -COURSE_LEVEL
                row[CHANNELS.zoom.out] = -COURSE_LEVEL * sign
                row[CHANNELS.empty] = COURSE_LEVEL * (1 + sign) - 1
