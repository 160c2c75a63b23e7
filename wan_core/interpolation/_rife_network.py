"""RIFE 4.25: flows to both frames in five passes, coarse to fine, for any time directly.

From hzwer's Practical-RIFE (MIT; Huang et al., ECCV 2022, arXiv 2011.06294), with the published file's key names.
float32 everywhere: flows need the precision.
"""

from functools import lru_cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan_core.interpolation._pairs import Interpolator
from wan_core.interpolation._tensors import Look, best_device, in_betweens, load_weights, warp

WIDTHS = (192, 128, 96, 64, 32)
SCALES = (16, 8, 4, 2, 1)
FEATURES = 4
"""Channels beside a frame's three."""
MEMORY = 8
"""From block to block."""


def load(weights: Path, device: str | None = None) -> Interpolator:
    device = device or best_device()
    return partial(in_betweens, _load_network(weights, device), device=device)


@lru_cache(maxsize=2)
def _load_network(weights: Path, device: str) -> "Rife":
    rife = network()
    load_weights(rife, weights)
    return rife.to(device)


def network() -> "Rife":
    return Rife()


class Rife(nn.Module):
    """5,664,776 parameters."""

    bytes_per_pixel = 1_000  # measured: 0.98 GB for a pair of 1280×768

    def __init__(self) -> None:
        super().__init__()
        one_frame = 3 + FEATURES
        later = 2 * one_frame + 1 + 1 + MEMORY + 4  # both warped, time, mask, memory, flow
        inputs = (2 * one_frame + 1, later, later, later, later)
        self.encode = Encoder()
        self.blocks = nn.ModuleList(map(Block, inputs, WIDTHS, SCALES))

    def look(self, images: Tensor) -> Look:
        """Image and features, (B, 7, H, W)."""
        return [torch.cat([images, self.encode(images)], 1)]

    def between(self, left: Look, right: Look, count: int) -> list[Tensor]:
        return [self.at(left[0], right[0], number / (count + 1)) for number in range(1, count + 1)]

    def at(self, left: Tensor, right: Tensor, time: float) -> Tensor:
        """`time` in (0, 1)."""
        plane = torch.full_like(left[:, :1], time)
        flow, mask, memory = self.blocks[0](torch.cat([left[:, :3], right[:, :3], left[:, 3:], right[:, 3:], plane], 1))
        for block in self.blocks[1:]:
            a, b = warp(left, flow[:, :2]), warp(right, flow[:, 2:])
            seen = torch.cat([a[:, :3], b[:, :3], a[:, 3:], b[:, 3:], plane, mask, memory], 1)
            change, mask, memory = block(seen, flow)
            flow = flow + change
        share = torch.sigmoid(mask)
        return warp(left[:, :3], flow[:, :2]) * share + warp(right[:, :3], flow[:, 2:]) * (1 - share)


class Encoder(nn.Module):
    """(B, 3, H, W) → (B, 4, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, 16, 3, 2, 1)
        self.cnn1 = nn.Conv2d(16, 16, 3, 1, 1)
        self.cnn2 = nn.Conv2d(16, 16, 3, 1, 1)
        self.cnn3 = nn.ConvTranspose2d(16, FEATURES, 4, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = F.leaky_relu(self.cnn0(image), 0.2)
        x = F.leaky_relu(self.cnn1(x), 0.2)
        x = F.leaky_relu(self.cnn2(x), 0.2)
        features: Tensor = self.cnn3(x)
        return features


class Block(nn.Module):
    """Input and flow so far → flow change, mask, memory."""

    def __init__(self, inputs: int, width: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv0 = nn.Sequential(_halving(inputs, width // 2), _halving(width // 2, width))
        self.convblock = nn.Sequential(*(Residual(width) for _ in range(8)))
        self.lastconv = nn.Sequential(nn.ConvTranspose2d(width, 4 * (4 + 1 + MEMORY), 4, 2, 1), nn.PixelShuffle(2))

    def forward(self, seen: Tensor, flow: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        x = _resize(seen, 1 / self.scale)
        if flow is not None:
            x = torch.cat([x, _resize(flow, 1 / self.scale) / self.scale], 1)
        x = self.lastconv(self.convblock(self.conv0(x)))
        x = _resize(x, self.scale)
        return x[:, :4] * self.scale, x[:, 4:5], x[:, 5:]


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x) * self.beta + x, 0.2)


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2))


def _resize(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
