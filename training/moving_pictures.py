"""Pictures and moving crops to train the miniature on: the photographs that ship in pip packages, and procedural ones.

Nothing is downloaded. Six photographs (and the second view of one of them) are held out: they are read by the
benchmarks alone. Pictures are float32 (3, H, W) in [-1, 1]; a clip is cut out of one picture by a moving window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

HELD_OUT = {
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "tower": ("gradio", "media_assets/images/tower.jpg"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
}

TRAINING = {
    "cameraman": ("skimage", "data/camera.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "pagoda": ("sklearn", "datasets/images/china.jpg"),
    "running cheetah": ("gradio", "media_assets/images/cheetah.jpg"),
    "cheetah": ("gradio", "media_assets/images/cheetah1.jpg"),
    "groot": ("gradio", "media_assets/images/groot.jpeg"),
    "lion": ("gradio", "media_assets/images/lion.jpg"),
    "coins": ("skimage", "data/coins.png"),
    "moon": ("skimage", "data/moon.png"),
    "brick": ("skimage", "data/brick.png"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "tissue": ("skimage", "data/ihc.png"),
    "galaxies": ("skimage", "data/hubble_deep_field.jpg"),
    "retina": ("skimage", "data/retina.jpg"),
}
PHOTOGRAPHS = ("rocket", "pagoda", "running cheetah", "cheetah", "groot", "lion", "cameraman")
SHORT_SIDES = (112, 144, 192, 256, 340)
PLAIN_VARIANCE = 0.002  # a variance of 9×9 pixels in [-1, 1]: a deviation of 6 grey levels


def package_file(package: str, path: str) -> Path:
    """The file inside an installed package, found without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"the package {package} is not installed; its pictures are needed for training")
    return Path(spec.origin).parent / path


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """(3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1


def read_held_out(name: str, width: int, height: int) -> Image.Image:
    """A held-out photograph, centrally cropped to the ratio and enlarged or reduced to the size (Lanczos)."""
    picture = Image.open(package_file(*HELD_OUT[name])).convert("RGB")
    scale = max(width / picture.width, height / picture.height)
    covered = (width / scale, height / scale)
    left, top = (picture.width - covered[0]) / 2, (picture.height - covered[1]) / 2
    box = (left, top, left + covered[0], top + covered[1])
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box)


@cache
def read_photographs() -> dict[str, tuple[torch.Tensor, ...]]:
    """Every training photograph at several sizes, smallest first."""
    result = {}
    for name, place in TRAINING.items():
        picture = Image.open(package_file(*place)).convert("RGB")
        scales = [side / min(picture.size) for side in SHORT_SIDES if side <= min(picture.size)]
        result[name] = tuple(
            to_tensor(picture.resize((round(picture.width * s), round(picture.height * s)), Image.Resampling.LANCZOS))
            for s in scales
        )
    return result


def draw_procedural(generator: torch.Generator, height: int, width: int) -> torch.Tensor:
    """A made-up picture: a coloured 1/f texture, often too faint to see, and a slope under soft or hard shapes."""
    picture = _draw_texture(generator, height, width)
    ys, xs = torch.meshgrid(torch.arange(height) * 1.0, torch.arange(width) * 1.0, indexing="ij")
    slopes = (torch.rand(2, 3, 1, 1, generator=generator) - 0.5) * 1.2
    picture = picture + slopes[0] * (xs / width - 0.5) + slopes[1] * (ys / height - 0.5)  # a sky
    for _ in range(int(_uniform(generator, 3, 14))):
        picture = _add_shape(picture, generator, ys, xs)
    return picture.clamp(-1, 1)


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def _draw_texture(generator: torch.Generator, height: int, width: int) -> torch.Tensor:
    """(3, height, width) of correlated colours about a random one."""
    fy = torch.fft.fftfreq(height)[:, None]
    fx = torch.fft.rfftfreq(width)[None]
    amplitude = (fx**2 + fy**2 + 1e-4) ** (-_uniform(generator, 0.6, 1.1))
    noise = torch.randn(3, height, width, generator=generator)
    texture = torch.fft.irfft2(torch.fft.rfft2(noise) * amplitude, s=(height, width))
    visible = _uniform(generator, 0, 1) < 0.6
    contrast = _uniform(generator, 0.1, 0.5) if visible else _uniform(generator, 0.0, 0.05)
    texture = texture / texture.std() * contrast
    mix = torch.eye(3) * 0.4 + torch.rand(3, 3, generator=generator) * 0.6
    return torch.einsum("ij,jhw->ihw", mix, texture) + (torch.rand(3, 1, 1, generator=generator) * 1.2 - 0.6)


def _add_shape(picture: torch.Tensor, generator: torch.Generator, ys: torch.Tensor, xs: torch.Tensor) -> torch.Tensor:
    """An ellipse or a rectangle of any colour, through which some of the picture shows."""
    height, width = ys.shape
    cy, cx = _uniform(generator, 0, height), _uniform(generator, 0, width)
    size, angle = _uniform(generator, 4, 40), _uniform(generator, 0, 3.14)
    ratio, soft = _uniform(generator, 0.2, 1), _uniform(generator, 0.5, 3)
    u = (xs - cx) * np.cos(angle) + (ys - cy) * np.sin(angle)
    v = ((ys - cy) * np.cos(angle) - (xs - cx) * np.sin(angle)) / ratio
    elliptic = _uniform(generator, 0, 1) < 0.5
    distance = (u**2 + v**2).sqrt() if elliptic else torch.maximum(u.abs(), v.abs())
    mask = ((size - distance) / soft).clamp(0, 1) * _uniform(generator, 0.5, 1)
    colour = torch.rand(3, 1, 1, generator=generator) * 2 - 1
    return picture * (1 - mask) + (colour + 0.3 * picture) * mask


def recolour(picture: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random flip, channel order, brightness, contrast and gamma; (3, H, W) stays in [-1, 1]."""
    draw: list[float] = torch.rand(6, generator=generator).tolist()
    if draw[0] < 0.5:
        picture = picture.flip(-1)
    if draw[1] < 0.3:
        picture = picture[torch.randperm(3, generator=generator)]
    picture = ((picture + 1) / 2).clamp(0, 1) ** (0.7 + 0.7 * draw[2]) * 2 - 1
    return (picture * (0.8 + 0.35 * draw[3]) + 0.2 * (draw[4] - 0.5)).clamp(-1, 1)


def random_picture(generator: torch.Generator, height: int, width: int) -> torch.Tensor:
    """A training picture at least as large as asked: mostly photographs, some textures, some procedural."""
    draw = torch.rand((), generator=generator).item()
    if draw < 0.2:
        return draw_procedural(generator, height + 48, width + 64)
    pictures = read_photographs()
    names: Sequence[str] = PHOTOGRAPHS if draw < 0.75 else tuple(pictures)
    sizes = pictures[names[int(torch.randint(len(names), (), generator=generator))]]
    fitting = [p for p in sizes if p.shape[1] >= height and p.shape[2] >= width] or [sizes[-1]]
    picture = fitting[int(torch.randint(len(fitting), (), generator=generator))]
    if picture.shape[1] < height or picture.shape[2] < width:
        scale = max(height / picture.shape[1], width / picture.shape[2])
        size = (max(height, round(picture.shape[1] * scale)), max(width, round(picture.shape[2] * scale)))
        picture = F.interpolate(picture[None], size=size, mode="bicubic", antialias=True)[0]
    return recolour(picture, generator)


def random_crop(generator: torch.Generator, height: int, width: int) -> torch.Tensor:
    """A still training crop, (3, height, width)."""
    picture = random_picture(generator, height, width)
    top = int(torch.randint(picture.shape[1] - height + 1, (), generator=generator))
    left = int(torch.randint(picture.shape[2] - width + 1, (), generator=generator))
    return picture[:, top : top + height, left : left + width]


def plainness(pictures: torch.Tensor) -> torch.Tensor:
    """1 where a picture is plain, near 0 where it is busy: (B, 3, H, W) → (B, 1, H, W).

    An eye sees errors in plain places first; the squared error is spent on the busy ones.
    """
    around = F.pad(pictures, (4, 4, 4, 4), mode="reflect")
    variance = F.avg_pool2d(around.square(), 9, 1) - F.avg_pool2d(around, 9, 1).square()
    return PLAIN_VARIANCE / (variance.mean(1, keepdim=True).clamp(min=0) + PLAIN_VARIANCE)


@dataclass(frozen=True)
class Motion:
    """What a camera does in one clip: content moves by (dx, dy) pixels and grows by exp(zoom) per latent frame."""

    dx: float = 0.0
    dy: float = 0.0
    zoom: float = 0.0


def moving_crop(
    picture: torch.Tensor,
    motion: Motion,
    times: Sequence[float],
    height: int,
    width: int,
    left: float,
    top: float,
) -> torch.Tensor:
    """(T, 3, height, width): the window that starts at (left, top), at the given times in latent frames (0 … 20).

    Content outside the picture is its mirror image.
    """
    step = torch.tensor([float(time) for time in times])[:, None, None]
    ys = torch.arange(height)[None, :, None] + 0.0
    xs = torch.arange(width)[None, None, :] + 0.0
    centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
    shrink = torch.exp(-motion.zoom * step)
    source_x = (xs - centre_x - motion.dx * step) * shrink + centre_x + left
    source_y = (ys - centre_y - motion.dy * step) * shrink + centre_y + top
    grid = torch.stack(
        [
            (2 * source_x / (picture.shape[2] - 1) - 1).expand(-1, height, -1),
            (2 * source_y / (picture.shape[1] - 1) - 1).expand(-1, -1, width),
        ],
        dim=-1,
    )
    frames = picture[None].expand(len(times), -1, -1, -1)
    moved = F.grid_sample(frames, grid, mode="bicubic", padding_mode="reflection", align_corners=True)
    return moved.clamp(-1, 1)
