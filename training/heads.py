"""Attention heads written down by hand: which tokens a head looks at, and which channels it carries over.

RoPE knows only differences of positions, so a kernel about a place is made of its highest frequencies; what depends on
the place itself comes from the balance of a softmax between frame 0 and the token's own frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from diffusers.models.transformers.transformer_wan import WanAttention

from training.channels import CHANNELS, HEAD, WIDTH

LOGIT = math.sqrt(HEAD)  # attention divides by it
KERNEL = (12.0, 10.0, 6.0)  # logits of the three highest frequencies: one token wide together
BALANCE = 3  # the RoPE frequency whose slope tells places apart
FILLER, FRAME = 6, 7  # frequencies of time, turning by hardly anything in a clip: free for a key's length and frame 0
MIDDLE_FRAME = 10


def pair(axis: Literal["t", "y", "x"], index: int) -> int:
    """First of the two head channels of a RoPE frequency, `angle(index)` radians a token."""
    return {"t": 0, "y": 16, "x": 32}[axis] + 2 * index


def angle(index: int) -> float:
    return float(10000 ** (-index / 8))


class Head:
    """Query, key and value of one head as affine functions of the token's channels, filled in by name."""

    def __init__(self) -> None:
        self.query_bias, self.key_bias = torch.zeros(HEAD), torch.zeros(HEAD)
        self.query, self.key, self.value = torch.zeros(HEAD, WIDTH), torch.zeros(HEAD, WIDTH), torch.zeros(HEAD, WIDTH)
        self.out = torch.zeros(WIDTH, HEAD)

    def see_first_frame(self, strength: float = 12.0) -> None:
        """Frame 0 is seen, everything else is not."""
        self.query_bias[pair("t", FRAME)] += strength * LOGIT
        self._add_key(pair("t", FRAME), of_first=1, of_others=-1)

    def see_later_frames(self, strength: float = 12.0) -> None:
        """Every frame but frame 0 is seen, all places of them alike."""
        self.query_bias[pair("t", FRAME)] += strength * LOGIT
        self._add_key(pair("t", FRAME), of_first=-1, of_others=1)

    def see_place(self, axis: Literal["t", "y", "x"], side: int | None = None, sharp: float = 1.0) -> None:
        """A kernel one token wide about the token's place, or its neighbour at minus the signal in channel `side`."""
        for index, logit in enumerate(KERNEL):
            channel, strength = pair(axis, index), logit * sharp * LOGIT
            self._add_key(channel, of_first=1, of_others=1)
            if side is None:
                self.query_bias[channel] += strength
            else:
                self.query_bias[channel] += strength * math.cos(angle(index))
                self.query[channel + 1, side] -= strength * math.sin(angle(index))
                self.query[channel + 1, CHANNELS.zero] += strength * math.sin(angle(index))

    def balance_frames(self, axis: Literal["t", "y", "x"], slope: float) -> None:
        """Frame 0 against the token's own frame: the logit of frame 0 falls by `slope` a token along the axis.

        Both weigh the same in the middle: of the clip, or of the picture.
        """
        for index, strength in enumerate(KERNEL):
            self.query_bias[pair("t", index)] += strength * LOGIT
            self._add_key(pair("t", index), of_first=0, of_others=1)
        self.query_bias[pair("t", FRAME)] += sum(KERNEL) / 2 * LOGIT
        self._add_key(pair("t", FRAME), of_first=1, of_others=-1)
        channel, turn = pair(axis, BALANCE), angle(BALANCE)
        phase = MIDDLE_FRAME * turn if axis == "t" else 0.0
        self.query_bias[channel] += slope / turn * math.sin(phase) * LOGIT
        self.query_bias[channel + 1] += slope / turn * math.cos(phase) * LOGIT
        self._add_key(channel, of_first=1, of_others=0)

    def carry(self, sources: Iterable[int], targets: Iterable[int], scale: float = 1.0) -> None:
        """Values: the channels `sources`, written to `targets` times `scale`."""
        for slot, (source, target) in enumerate(zip(sources, targets, strict=True)):
            self.value[slot, source] += 1
            self.value[slot, CHANNELS.zero] -= 1
            self.out[target, slot] += scale

    def _add_key(self, channel: int, of_first: float, of_others: float) -> None:
        self.key_bias[channel] += of_others
        self.key[channel, CHANNELS.first_frame] += of_first - of_others
        self.key[channel, CHANNELS.zero] -= of_first - of_others


def random_head() -> Head:
    """A soft look at the same place of frame 0; its random values write nothing until trained."""
    head = Head()
    head.see_first_frame(6)
    head.see_place("x", sharp=0.3)
    head.see_place("y", sharp=0.3)
    head.value[:] = torch.randn(HEAD, WIDTH) * 0.1
    head.value[:, : CHANNELS.picture.start] = head.value[:, CHANNELS.plus :] = 0
    return head


def put_heads(attention: WanAttention, heads: list[Head]) -> None:
    """Fill a self-attention with its five heads; missing ones become `random_head`s.

    The norms of query and key divide by the length over all heads, so every key is filled up to one length.
    """
    count = WIDTH // HEAD
    query_power = key_power = 0.0
    for number in range(count):
        head = heads[number] if number < len(heads) else random_head()
        rows = slice(number * HEAD, (number + 1) * HEAD)
        attention.to_q.weight[rows], attention.to_q.bias[rows] = head.query, head.query_bias
        attention.to_k.weight[rows], attention.to_k.bias[rows] = head.key, head.key_bias
        attention.to_v.weight[rows] = head.value
        attention.to_out[0].weight[:, rows] = head.out
        query_power += float((head.query_bias**2).sum())
        key_power += _even_keys(attention, head, number * HEAD + pair("t", FILLER))
    attention.to_v.bias.zero_()
    attention.to_out[0].bias.zero_()
    attention.norm_q.weight.fill_(math.sqrt(query_power / WIDTH))
    attention.norm_k.weight.fill_(math.sqrt(key_power / WIDTH))


def _even_keys(attention: WanAttention, head: Head, filler: int) -> float:
    """Give the keys of frame 0 and of the other frames one length through the row `filler`; returns its square."""
    first, others = head.key_bias + head.key[:, CHANNELS.first_frame], head.key_bias
    missing = float((first**2).sum() - (others**2).sum())
    to_first, to_others = (0.0, missing) if missing > 0 else (-missing, 0.0)
    attention.to_k.bias[filler] = math.sqrt(to_others)
    attention.to_k.weight[filler, CHANNELS.first_frame] = math.sqrt(to_first) - math.sqrt(to_others)
    attention.to_k.weight[filler, CHANNELS.zero] = math.sqrt(to_others) - math.sqrt(to_first)
    return float((first**2).sum()) + to_first
