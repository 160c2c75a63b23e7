"""How the experts read a prompt's course from the text encoder's states, in which every token carries it."""

from __future__ import annotations

import math

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttention

from training.channels import CHANNELS
from training.heads import LOGIT
from training.text_encoder import ALWAYS, CODE_LENGTH, PAN, SCALE, SILENCE, SILENT, TILT, ZOOM, directions
from training.text_encoder import WIDTH as TEXT_WIDTH
from training.units import Units

ASKED = (0.12, 0.28)  # of a normal speed in the prompt: from where on an axis opens, and where it is open
UNSAID = (0.3, 0.7)  # of silence about the camera: likewise, all axes
OPENING = 40.0  # how sharp these edges are
PADDING_LOGIT = 14  # of a token of the prompt, against padding's 0


def put_prompt(model: WanTransformer3DModel) -> None:
    """The prompt's course into the signal channels, from whichever token is no padding."""
    embedder = model.condition_embedder.text_embedder
    for layer in (embedder.linear_1, embedder.linear_2):
        layer.weight.zero_()
        layer.bias.zero_()
    units = Units(embedder.linear_1, embedder.linear_2)
    code = directions() / math.sqrt(TEXT_WIDTH)
    put_code(units, code)
    put_openings(units, code)
    put_prompt_attention(model.blocks[0].attn2)


def put_code(units: Units, code: torch.Tensor) -> None:
    """The five numbers of the prompt's code into the leading states: x = gelu(2x) / 2 - gelu(-2x) / 2."""
    for sign in (1, -1):
        rows = units.allocate(CODE_LENGTH)
        units.inner.weight[rows] = sign * code * 2
        units.outer.weight[:CODE_LENGTH, rows] = sign * 0.5 * torch.eye(CODE_LENGTH)


def put_openings(units: Units, code: torch.Tensor) -> None:
    """The next three states: 1 where an axis's course is asked for, all where nothing is said about the camera."""
    for axis in (PAN, TILT, ZOOM):
        for row, size, low, high in (
            (axis, SCALE, *ASKED),
            (axis, -SCALE, *ASKED),
            (SILENT, SILENCE, *UNSAID),
        ):
            for edge, sign in ((low, 1), (high, -1)):
                unit = units.allocate(1)
                units.inner.weight[unit] = OPENING * code[row] / size
                units.inner.bias[unit] = -OPENING * edge
                units.outer.weight[CODE_LENGTH + axis, unit] = sign / (OPENING * (high - low))


def put_prompt_attention(attention: WanAttention) -> None:
    """Every token sees those of the prompt that are no padding, and writes their course and openings."""
    for layer in (attention.to_q, attention.to_k, attention.to_v, attention.to_out[0]):
        layer.weight.zero_()
        layer.bias.zero_()
    attention.to_q.bias.fill_(1)
    attention.norm_q.weight.fill_(1)
    attention.to_k.weight[:, ALWAYS] = 1
    attention.norm_k.weight.fill_(PADDING_LOGIT / LOGIT)
    for number, axis in enumerate(CHANNELS.axes):
        opening = 3 + number
        attention.to_v.weight[number, number] = 1
        attention.to_v.weight[opening, CODE_LENGTH + number] = 1
        attention.to_out[0].weight[axis.asked, number] = 1 / SCALE
        attention.to_out[0].weight[axis.open, opening] = 1
