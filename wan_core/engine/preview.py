"""Preview a clip while it is noise: latents → a small animated WebP, without the VAE.

A latent pixel is roughly a linear function of its colour. Where the clip will take its detail from the picture, so do
its previews. Once the first one's cost is known, a clip's previews take at most one hundredth of its time.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from wan_core.enlarging import enlarge_with_picture
from wan_core.files import atomic_write
from wan_core.frames import Frame

log = logging.getLogger(__name__)

SHARE = 0.01
COUNT = 8  # previews of one clip at most
FRAME_MS = 250  # a latent frame stands for four frames at 16 a second
MIN_WIDTH = 160
ENLARGED_FIRST = 4  # one pixel a latent is too coarse to find the camera's move

WAN_FACTORS = (
    (-0.1299, -0.1692, 0.2932),
    (0.0671, 0.0406, 0.0442),
    (0.3568, 0.2548, 0.1747),
    (0.0372, 0.2344, 0.1420),
    (0.0313, 0.0189, -0.0328),
    (0.0296, -0.0956, -0.0665),
    (-0.3477, -0.4059, -0.2925),
    (0.0166, 0.1902, 0.1975),
    (-0.0412, 0.0267, -0.1364),
    (-0.1293, 0.0740, 0.1636),
    (0.0680, 0.3019, 0.1128),
    (0.0032, 0.0581, 0.0639),
    (-0.1251, 0.0927, 0.1699),
    (0.0060, -0.0633, 0.0005),
    (0.3477, 0.2275, 0.2950),
    (0.1984, 0.0913, 0.1861),
)
WAN_BIAS = (-0.1835, -0.0868, -0.3360)
"""Wan 2.1's normalised latents → colours in [-1, 1], from ComfyUI's latent_formats.py (Wan21)."""


@dataclass(frozen=True)
class Colours:
    """Linear map from normalised latents to colours in [-1, 1]: `factors` (z, 3), `bias` (3,)."""

    factors: torch.Tensor
    bias: torch.Tensor

    def pictures(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        """(1, z, T, h, w) → (T, h, w, 3) uint8."""
        factors, bias = self.factors.to(latents), self.bias.to(latents)
        colours = torch.einsum("zthw,zc->thwc", latents[0], factors) + bias
        pictures: NDArray[np.uint8] = ((colours + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).cpu().numpy()
        return pictures


WAN = Colours(torch.tensor(WAN_FACTORS), torch.tensor(WAN_BIAS))


def fit_colours(vae: Any, pictures: int = 8, side: int = 48) -> Colours:
    """Fit the map of another VAE: least squares between latents and the mean colours under them.

    Stills of five frames make first and later latent frames count alike.
    """
    colours = soft_colours(pictures, side)
    device, dtype = next(vae.parameters()).device, vae.dtype
    with torch.no_grad():
        stills = colours[:, :, None].expand(-1, -1, 5, -1, -1).to(device, dtype)
        latents = normalize(vae, vae.encode(stills).latent_dist.mode()).cpu().float()
    means = torch.nn.functional.adaptive_avg_pool2d(colours, (latents.shape[-2], latents.shape[-1]))
    known = latents.permute(0, 2, 3, 4, 1).reshape(-1, latents.shape[1])
    wanted = means[:, :, None].expand(-1, -1, latents.shape[2], -1, -1).permute(0, 2, 3, 4, 1).reshape(-1, 3)
    return least_squares(known, wanted)


def least_squares(latents: torch.Tensor, colours: torch.Tensor) -> Colours:
    """Latents (N, z), colours (N, 3)."""
    extended = torch.cat([latents, torch.ones(len(latents), 1)], dim=1)
    solution = torch.linalg.lstsq(extended, colours, driver="gelsd").solution
    return Colours(solution[:-1], solution[-1])


def soft_colours(count: int, side: int) -> torch.Tensor:
    """(count, 3, side, side) in [-1, 1]; the same every time."""
    generator = torch.Generator("cpu").manual_seed(0)
    grid = torch.rand(count, 3, 4, 4, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(grid, (side, side), mode="bicubic", align_corners=True).clamp(-1, 1)


def normalize(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    mean, std = (
        torch.tensor(numbers).view(1, -1, 1, 1, 1).to(latents)
        for numbers in (vae.config.latents_mean, vae.config.latents_std)
    )
    return (latents - mean) / std


def with_detail(pictures: NDArray[np.uint8], picture: Frame) -> NDArray[np.uint8]:
    """(T, h, w, 3) → (T, H, W, 3), the size of `picture`, with its detail where they agree."""
    size = (pictures.shape[2] * ENLARGED_FIRST, pictures.shape[1] * ENLARGED_FIRST)
    frames = (np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BICUBIC)) for each in pictures)
    return np.stack(list(enlarge_with_picture(frames, picture)))


def write(path: Path, pictures: NDArray[np.uint8]) -> None:
    """Write (T, h, w, 3) atomically as a looping WebP, at least 160 pixels wide."""
    scale = -(-MIN_WIDTH // pictures.shape[2])
    size = (pictures.shape[2] * scale, pictures.shape[1] * scale)
    first, *others = (Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR) for picture in pictures)
    with atomic_write(path) as part:
        first.save(part, "WEBP", save_all=True, append_images=others, duration=FRAME_MS, loop=0, quality=60, method=0)


@dataclass
class Previews:
    """Writes a clip's previews to `path` while they cost less than `SHARE` of its time.

    `picture`: the first frame, if the clip takes its detail from the picture.
    """

    path: Path
    colours: Colours
    steps: int
    picture: Frame | None = None
    clock: Callable[[], float] = time.monotonic
    spent: float = 0.0
    last: float = 0.05  # a guess; then what the last one took
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def offer(self, step: int, latents: torch.Tensor, seconds_left: float) -> bool:
        """Write a preview if due and affordable, and return whether. `latents`: the guess after `step` (from 0)."""
        now = self.clock()
        budget = SHARE * (now - self.began + seconds_left)
        if (step + 1) % -(-self.steps // COUNT) or self.spent + self.last > budget:
            return False
        pictures = self.colours.pictures(latents.float())
        try:
            write(self.path, pictures if self.picture is None else with_detail(pictures, self.picture))
        except OSError as error:  # a clip needs no preview
            log.warning("a preview could not be written: %s", error.strerror)
            return False
        self.last = self.clock() - now
        self.spent += self.last
        return True
