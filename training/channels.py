"""What each of the 240 channels of a token holds inside the miniature's experts.

A token is 2×2 places of the latents (16×16 pixels). Channels that hold latents are numbered latent channel · 4 + place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

WIDTH, HEAD = 240, 48
LARGE = 1000.0  # of the constant pair `plus` and `minus`, beside which every LayerNorm is nearly linear
SPREAD = math.sqrt(2 * LARGE**2 / WIDTH + 0.7)  # a token's standard deviation: what every LayerNorm divides by


@dataclass(frozen=True)
class Axis:
    """Channels of one axis of the camera's course, all in normal speeds but `open`, which is 1 or 0."""

    read: int  # the mean of the noisy course channels over all places
    asked: int  # by the prompt
    open: int  # the prompt lets the camera move along this axis
    out: int  # the expected course, which the last layer writes


@dataclass(frozen=True)
class Direction:
    """Channels of a picture's movement along `axis`, x or y."""

    axis: Literal["x", "y"]
    neighbour: range  # the leading latents of the first picture, one token against the move
    rests: int  # 1 where neither this direction nor the zoom is open
    place: int  # of the token, from the picture's middle, in units of six tokens
    side: int  # which neighbour is fetched, -1 … 1
    gone: int  # the way gone until this frame, in normal pans of a whole clip


@dataclass(frozen=True)
class Channels:
    """The numbers of a token's channels."""

    noisy: range = range(0, 72)
    picture: range = range(72, 136)  # the first picture's latents at this place, moved by blocks 1 and 2
    condition: range = range(136, 200)  # before block 0, in frame 0: the first picture's latents; then the neighbours'
    pan: Axis = Axis(read=221, asked=231, open=234, out=237)
    tilt: Axis = Axis(read=222, asked=232, open=235, out=238)
    zoom: Axis = Axis(read=225, asked=233, open=236, out=239)
    sideways: Direction = Direction("x", neighbour=range(136, 172), rests=213, place=223, side=226, gone=228)
    upright: Direction = Direction("y", neighbour=range(176, 212), rests=214, place=224, side=227, gone=229)
    blurred: int = 215  # like `zero`, under the modulation of `gone` (`course.certainty`)
    plus: int = 216
    minus: int = 217
    zero: int = 218  # weights on a channel are taken off here again: the mean that a LayerNorm subtracts cancels
    first_frame: int = 219  # 1 in frame 0, else 0
    time: int = 220  # 0 in frame 0 … 1 in frame 20
    empty: int = 230  # like `zero`, under the modulation of the noise level

    @property
    def axes(self) -> tuple[Axis, Axis, Axis]:
        return self.pan, self.tilt, self.zoom

    @property
    def noisy_course(self) -> range:
        return self.noisy[64:]

    @property
    def latents(self) -> range:
        """Everything that holds latents, noisy, own or a neighbour's."""
        return range(self.noisy.start, self.upright.neighbour.stop)


CHANNELS = Channels()
