"""The 2-D mirror of the miniature's VAE: a linear codec with a small residual net on its decoder.

Trained from random weights the real class stalls far below a linear transform (NOTES.md), so this is trained instead;
every layer has its place in the real class (`transplant.py`). Pictures are (B, 3, H, W) in [-1, 1].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

QUARTER = 24  # components kept of a 4×4 block (of 48): the encoder's first width
KEPT = 23  # components kept of an 8×8 block (of 192): with their negatives and the constant they fill 48 channels
IMAGE_DIM = 16  # latent channels of the picture; the real class has two more, which carry the camera's course
HALF0, HALF1, LAST = 31, 15, 31  # decoder widths at 8, 4 and 2 pixels; the first two exist twice (code k and code k-1)


class Residual(nn.Module):
    """x + conv2(silu(conv1(silu(x)))), starting as the identity (or as its 1×1 shortcut where the width changes)."""

    def __init__(self, width: int, wider: int | None = None) -> None:
        super().__init__()
        out = wider or width
        self.shortcut = nn.Conv2d(width, out, 1) if wider else nn.Identity()
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        for parameter in (self.conv1.bias, self.conv2.weight, self.conv2.bias):
            assert parameter is not None
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.shortcut(x) + self.conv2(F.silu(self.conv1(F.silu(x))))
        return changed


class Codec(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] ⇄ latents (B, IMAGE_DIM, H/8, W/8) of rms about 1."""

    quarter: torch.Tensor
    whole: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("quarter", torch.zeros(QUARTER, 3, 4, 4))
        self.register_buffer("whole", torch.zeros(KEPT, QUARTER, 2, 2))
        self.analysis = nn.Conv2d(KEPT, IMAGE_DIM, 3, padding=1, bias=False)
        self.d0 = nn.Conv2d(IMAGE_DIM, HALF0, 3, padding=1)
        self.r0 = nn.Sequential(*[Residual(HALF0) for _ in range(4)])
        self.d1 = nn.Conv2d(HALF0, HALF1, 3, padding=1)
        self.r1 = nn.Sequential(Residual(HALF1, HALF0), Residual(HALF0))
        self.d2 = nn.Conv2d(HALF0, LAST, 3, padding=1)
        self.r2 = nn.Sequential(*[Residual(LAST) for _ in range(2)])
        self.d3 = nn.Conv2d(LAST, 12, 3, padding=1)

    @torch.no_grad()
    def fit_blocks(self, pictures: torch.Tensor) -> None:
        """Principal components of 4×4 and 8×8 blocks: the encoder's strided convolutions, closed form.

        About mid-grey, not about the mean: what the pipeline feeds for every frame but the first is then zero, up to
        the border.
        """
        small = F.unfold(pictures[::4], 4, stride=4).transpose(1, 2).reshape(-1, 48)
        self.quarter.copy_(_components(small, QUARTER).T.reshape(QUARTER, 3, 4, 4))
        features = F.conv2d(pictures, self.quarter, stride=4)
        blocks = F.unfold(features, 2, stride=2).transpose(1, 2).reshape(-1, QUARTER * 4)
        self.whole.copy_(_components(blocks, KEPT).T.reshape(KEPT, QUARTER, 2, 2))

    @torch.no_grad()
    def start_linear(self) -> None:
        """Analysis starts as the leading block components; synthesis orthogonal, its last layer an exact ± pair."""
        for layer in (self.d0, self.d1, residuals(self.r1)[0].shortcut, self.d2, self.d3):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.analysis.weight.zero_()
        self.analysis.weight[range(IMAGE_DIM), range(IMAGE_DIM), 1, 1] = 0.25
        half = LAST // 2
        self.d2.weight[half : 2 * half] = -self.d2.weight[:half]
        self.d3.weight[:, half : 2 * half] = -self.d3.weight[:, :half]
        self.d3.weight[:, 2 * half :] = 0

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        blocks = F.conv2d(F.conv2d(pictures, self.quarter, stride=4), self.whole, stride=2)
        latents: torch.Tensor = self.analysis(blocks)
        return latents

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        x = self.r0(self.d0(latents))
        x = self.d1(F.interpolate(x, scale_factor=2.0, mode="nearest-exact"))
        x = self.r1(x)
        x = self.r2(self.d2(F.interpolate(x, scale_factor=2.0, mode="nearest-exact")))
        return F.pixel_shuffle(self.d3(F.silu(x)), 2)

    @torch.no_grad()
    def normalise(self, pictures: torch.Tensor) -> None:
        """Change the latents' basis: an error in them weighs as in the picture, channels by falling variance, rms 1.

        One scale for all channels: whitening would blow up fine detail that no transformer can move about.
        """
        unit = torch.zeros(IMAGE_DIM, IMAGE_DIM, 9, 9)
        unit[range(IMAGE_DIM), range(IMAGE_DIM), 4, 4] = 1e-3
        zero = self.decode(torch.zeros(1, IMAGE_DIM, 9, 9))
        synthesis = ((self.decode(unit) - zero) / 1e-3).flatten(1)
        values, vectors = torch.linalg.eigh(synthesis @ synthesis.T)
        root = vectors @ values.sqrt().diag() @ vectors.T
        z = torch.einsum("ij,bjhw->bihw", root, self.encode(pictures)).transpose(0, 1).flatten(1)
        variances, rotation = torch.linalg.eigh(z @ z.T / z.shape[1])
        change = rotation.flip(1).T @ root * variances.mean().rsqrt()
        self.analysis.weight.copy_(torch.einsum("ij,jkhw->ikhw", change, self.analysis.weight))
        self.d0.weight.copy_(torch.einsum("oikl,ij->ojkl", self.d0.weight, torch.linalg.inv(change)))


def residuals(blocks: nn.Sequential) -> list[Residual]:
    return [block for block in blocks if isinstance(block, Residual)]


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """dB of pictures in [-1, 1]."""
    return -10 * math.log10(((first.clamp(-1, 1) - second) ** 2).mean().item() / 4)


def _components(columns: torch.Tensor, count: int) -> torch.Tensor:
    """(N, size) → (size, count): the leading principal directions about zero."""
    ascending: torch.Tensor = torch.linalg.eigh(columns.T @ columns / len(columns)).eigenvectors
    return ascending.flip(1)[:, :count]
