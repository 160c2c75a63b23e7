"""Attention heads written down by hand: which tokens a head looks at, and which channels it carries over.

RoPE knows only differences of positions, so a kernel about a place is made of its lowest frequencies; what depends on
the place itself comes from the balance of a softmax between frame 0 and the token's own frame.
"""

from __future__ import annotations

import math

import torch
from channels import F0, FIRST, HEAD, PLUS, WIDTH, ZERO
from torch import nn

LOGIT = math.sqrt(HEAD)  # attention divides by it


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
