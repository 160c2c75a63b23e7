"""Draw what the experts are trained on: moving clips in latents, their condition and prompt, and noise."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from training.codec import IMAGE_DIM, Codec
from training.course import (
    COURSE_DEVIATION,
    COURSE_LEVEL,
    LATENT_FRAMES,
    NOISE_DEVIATION,
    PAN_PIXELS,
    ZOOM_GROWTH,
    ZOOM_PATTERN,
)
from training.moving_pictures import Motion, moving_crop, plainness, random_picture
from training.prompts import FAST, SLOW, Course
from training.text_encoder import meaning
from wan_core.engine.miniature import architecture

Speeds = tuple[float, float, float]  # pan, tilt, zoom
STALE_SHARE = 0.6  # of the clips, and only at high noise


@dataclass(frozen=True)
class Clips:
    """B clips of T latent frames."""

    latents: torch.Tensor  # (B, 18, T, h, w)
    condition: torch.Tensor  # (B, 22, T, h, w), as the pipeline builds it
    prompt: torch.Tensor  # (B, 1, 64) states of the text encoder
    plain: torch.Tensor  # (B, 1, T, h, w), how plain every place is, 0 … 1


@dataclass(frozen=True)
class Batch:
    """Clips, what one iteration sees of them (B, 18, T, h, w), and its σ (B, 1, 1, 1, 1)."""

    clips: Clips
    noisy: torch.Tensor
    sigma: torch.Tensor


def zoom_pattern(height: int, width: int) -> torch.Tensor:
    """(height, width) latents of ±1: ZOOM_PATTERN over every token's four places."""
    return torch.tensor(ZOOM_PATTERN).view(2, 2).repeat(height // 2, width // 2)


def course_field(speeds: Speeds, height: int, width: int) -> torch.Tensor:
    """(2, height/8, width/8): what the course channels of a clip hold at every frame."""
    pan, tilt, zoom = speeds
    pattern = zoom_pattern(height // 8, width // 8)
    return COURSE_LEVEL * torch.stack([pan + zoom * pattern, tilt + zoom * pattern])


def draw_speeds(asked: Course, rng: random.Random) -> Speeds:
    """Draw speeds about the course asked for; where the prompt names the camera, axes not asked for stay at 0."""

    def draw(speed: float) -> float:
        return speed + COURSE_DEVIATION * rng.gauss(0, 1) if speed or not asked.named else 0.0

    return draw(asked.pan), draw(asked.tilt), draw(asked.zoom)


def draw_course(rng: random.Random) -> Course:
    """Draw a pan, tilt or zoom of any speed, a still, or a prompt that says nothing about the camera."""
    speed = rng.choice((rng.uniform(0.2, FAST), SLOW, 1.0, FAST)) * rng.choice((-1, 1))
    draw = rng.random()
    if draw < 0.3:
        return Course(pan=speed)
    if draw < 0.55:
        return Course(tilt=speed)
    if draw < 0.88:
        return Course(zoom=speed)
    return Course(named=draw < 0.94)


def draw_noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Unit noise. The means that carry the course are as small as a whole clip's, whatever the crop."""
    noise = torch.randn(like.shape, generator=generator)
    pattern = zoom_pattern(like.shape[3], like.shape[4])
    for wave in (torch.ones_like(pattern), pattern):
        course = noise[:, IMAGE_DIM:, 1:]
        wanted = NOISE_DEVIATION * torch.randn(len(like), 2, 1, 1, 1, generator=generator)
        noise[:, IMAGE_DIM:, 1:] += (wanted - (course * wave).mean((2, 3, 4), keepdim=True)) * wave
    return noise


def draw_sigma(count: int, rng: random.Random) -> torch.Tensor:
    """(count,) noise levels of the low-noise expert: the sampler's own below 0.9 (shift 5, uniform steps)."""
    steps = torch.tensor([rng.uniform(0.004, 0.643) for _ in range(count)])
    return 5 * steps / (1 + 4 * steps)


@torch.no_grad()
def encode_videos(codec: Codec, videos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T, 3, H, W) → latents (B, 16, T, H/8, W/8) and plainness (B, 1, T, H/8, W/8)."""
    pictures, shape = videos.flatten(0, 1), videos.shape[:2]
    coded, plain = codec.encode(pictures), F.avg_pool2d(plainness(pictures), 8)
    return torch.unflatten(coded, 0, shape).transpose(1, 2), torch.unflatten(plain, 0, shape).transpose(1, 2)


class ClipSampler:
    """Draws training clips of any of the `sizes` (width, height) in pixels, in `codec`'s latents."""

    def __init__(self, codec: Codec, sizes: Sequence[tuple[int, int]], seed: int) -> None:
        self.codec, self.sizes = codec, sizes
        self.rng, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def draw_frames(self, count: int) -> list[int]:
        """Latent frame numbers: 0 and `count` others, in order."""
        return sorted([0, *self.rng.sample(range(1, LATENT_FRAMES), count)])

    def draw_video(self, speeds: Speeds, size: tuple[int, int], frames: Sequence[int]) -> torch.Tensor:
        """(T, 3, height, width): a picture that moves at these speeds, as far as the experts can move one."""
        (width, height), rng = size, self.rng
        pan, tilt, zoom = (min(max(speed, -FAST), FAST) for speed in speeds)
        motion = Motion(PAN_PIXELS * pan, PAN_PIXELS * tilt, zoom * ZOOM_GROWTH)
        picture = random_picture(self.generator, height + 24 * rng.randint(0, 1), width + 24 * rng.randint(0, 1))
        left, top = rng.randint(0, picture.shape[2] - width), rng.randint(0, picture.shape[1] - height)
        return moving_crop(picture, motion, frames, height, width, left, top)

    def draw_clips(self, courses: list[Course], frames: Sequence[int]) -> Clips:
        """One clip a course, all of one size, at these latent frame numbers."""
        size = self.rng.choice(self.sizes)
        videos, fields = [], []
        for course in courses:
            speeds = draw_speeds(course, self.rng)
            videos.append(self.draw_video(speeds, size, frames))
            # guidance multiplies the course, the picture goes no further
            guidance = self.rng.uniform(1, 4) if max(map(abs, speeds)) > FAST else 1.0
            pan, tilt, zoom = speeds
            fields.append(course_field((guidance * pan, guidance * tilt, guidance * zoom), size[1], size[0]))
        coded, plain = encode_videos(self.codec, torch.stack(videos))
        field = torch.stack(fields)[:, :, None].repeat(1, 1, len(frames), 1, 1)
        field[::2, :, 0] = 0  # frame 0 has no course; the experts must not rely on it
        latents = torch.cat([coded, field], dim=1)
        condition = torch.zeros(len(courses), 4 + architecture.Z_DIM, *latents.shape[2:])
        condition[:, :4, 0] = 1
        condition[:, 4 : 4 + IMAGE_DIM, 0] = coded[:, :, 0]
        return Clips(latents, condition, meaning(courses)[:, None], plain)

    def draw_batch(self, count: int, frames: Sequence[int]) -> Batch:
        """Noisy clips. At high noise, many hold only the still picture, as the high-noise expert leaves it."""
        clips = self.draw_clips([draw_course(self.rng) for _ in range(count)], frames)
        sigma = draw_sigma(count, self.rng)[:, None, None, None, None]
        noise = draw_noise(clips.latents, self.generator)
        seen = clips.latents.clone()
        stale = torch.rand(count, generator=self.generator) < STALE_SHARE
        stale &= sigma.flatten() > self.rng.uniform(0.2, 0.9)
        seen[stale, :IMAGE_DIM] = clips.latents[stale, :IMAGE_DIM, :1]
        return Batch(clips, (1 - sigma) * seen + sigma * noise, sigma)
