"""How a clip's course (pan, tilt, zoom) is written into the latents, and what a noise level leaves of it.

Two of the 18 latent channels are no picture: they hold the course, so faintly that it emerges from the noise over the
steps as the content of a video does. A course is in normal speeds; a clip of 81 frames has 21 latent frames.
"""

from __future__ import annotations

import torch

LATENT_FRAMES = 21
PAN_PIXELS = 12 / 20  # a pan at normal speed moves the content by 12 pixels in 20 latent frames; a token is 16 wide
ZOOM_GROWTH = 0.12 / 20  # a push in at normal speed enlarges by exp(0.12) in 20 latent frames
COURSE_LEVEL = 0.1  # latent value of the course channels at normal speed
COURSE_DEVIATION = 0.3  # of a course about the one asked for, in normal speeds (17 frames; longer clips: less)
NOISE_DEVIATION = 0.0245  # of the mean of unit noise over the places of 17 frames at 208×128 (81 frames: 0.011)
ZOOM_PATTERN = (1, -1, 1, -1)  # of the zoom over a token's four places, in both course channels
DRIFT = 0.6  # of a clip's length, rms: how far an uncertain course has drifted from the expected one
STEEPNESS = 8.0  # how sharply a shift of the picture sets in at its mark, per normal pan
GELU_DEVIATION = 0.7  # gelu is a ramp blurred by about this deviation
PLAIN_WEIGHT = 10  # how many times more an error of the experts weighs in a plain place


def course_gain(sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The factor that makes the mean of the noisy course channels a share of the course, and that share, at σ.

    The course of a clip is normal about the one asked for, with COURSE_DEVIATION; the mean over all places is it times
    (1 - σ) COURSE_LEVEL plus noise of σ NOISE_DEVIATION. The expected course is asked + share · (read - asked).
    """
    signal, noise = (1 - sigma) * COURSE_LEVEL, sigma * NOISE_DEVIATION
    gain = signal * COURSE_DEVIATION**2 / (signal**2 * COURSE_DEVIATION**2 + noise**2)
    return gain, gain * signal


def certainty(sigma: torch.Tensor) -> torch.Tensor:
    """How sharply the shifts of the picture set in at σ: 1 where the course is known.

    A shift sets in where the way gone passes a mark, within GELU_DEVIATION / STEEPNESS. The expected picture is the
    mean over the courses that are still possible, a smoother onset: the variances add up.
    """
    unsure = COURSE_DEVIATION * (1 - course_gain(sigma)[1]).sqrt()
    return 1 / (1 + (STEEPNESS * DRIFT * unsure / GELU_DEVIATION) ** 2).sqrt()
