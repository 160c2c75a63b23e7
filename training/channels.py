"""What every channel of a token in the miniature's experts holds, and how a clip's course emerges from the noise.

The hidden state of a token has 240 channels; the names below are their numbers. X are the noisy latents, F0 the first
picture's latents at this place, RX and RY those of its neighbours in the direction of the move.
"""

from __future__ import annotations

import math

import torch

WIDTH, HEAD = 240, 48
X, F0 = 0, 72
RX, RY = 136, 176
BESIDE = 36  # leading latent values kept of a neighbour
REST_X, REST_Y, BLURRED = range(213, 216)
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
TAG = 0.1  # latent value of the course channels at normal speed: faint, so that the course emerges over the steps
TAKE = 0.3  # standard deviation of a course about the one asked for, in normal speeds (17 frames; longer clips: less)
SPECK = 0.0245  # of the mean of unit noise over the places of 17 frames at 208×128 (81 frames: 0.011)
PATTERN = (1, -1, 1, -1)  # of the zoom over a token's four places in both course channels
BLUR = 0.6  # of a clip's length, rms: how far an uncertain course has drifted from the expected one
PIXELS = 12 / 20  # a pan at normal speed moves the content by 12 pixels in 20 latent frames; a token is 16 wide
GROWTH = 0.12 / 20  # a push in at normal speed enlarges by exp(0.12) in 20 latent frames
CALM = 10  # how many times more an error weighs in a plain place
STEEP = 8.0  # how sharply a shift sets in at its mark, per normal pan


def reading(sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the mean of the noisy course channels tells at a noise level: the factor that makes it (1) a share of the
    course, and that share.

    The course of a clip is normal about the one asked for, with deviation TAKE; the mean over all places is it times
    (1 - σ) TAG plus noise of deviation σ SPECK. The expected course, given both, is asked + share · (read - asked).
    """
    signal, noise = (1 - sigma) * TAG, sigma * SPECK
    gain = signal * TAKE**2 / (signal**2 * TAKE**2 + noise**2)
    return gain, gain * signal


def certainty(sigma: torch.Tensor) -> torch.Tensor:
    """How sharply the shifts of the picture set in at a noise level, of 1 where the course is known.

    A shift sets in where the way gone passes a mark, within gelu's own deviation of 0.7 / STEEP. The expected picture
    is the mean over the courses that are still possible: a smoother onset, the variances add up.
    """
    unsure = TAKE * (1 - reading(sigma)[1]).sqrt()
    return 1 / (1 + (STEEP * BLUR * unsure / 0.7) ** 2).sqrt()
