"""FILM "Style": feature pyramid, flows both ways, decoder.

From Google's frame-interpolation (Apache-2.0; Reda et al., ECCV 2022, arXiv 2202.04901; gin config Style), with the
published file's key names. Trained on the middle only: other times follow SCHEDULE. float16 on CUDA, but for flows.
"""

from functools import lru_cache, partial
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wan_core.interpolation._pairs import Interpolator
from wan_core.interpolation._tensors import Look, best_device, in_betweens, load_weights, warp

LEVELS = 7
FUSED_LEVELS = 5
STAGES = (64, 128, 256, 512)
"""Of the stages that start at each image level."""
FLOW_WIDTHS = (32, 64, 128, 256)
"""Of the flow predictors at levels 0, 1, 2 and coarser."""

SCHEDULE: dict[int, tuple[tuple[int, int, int], ...]] = {
    1: ((1, 0, 2),),
    2: ((2, 0, 3), (1, 0, 2)),
    3: ((2, 0, 4), (1, 0, 2), (3, 2, 4)),
    4: ((2, 0, 5), (1, 0, 2), (4, 2, 5), (3, 2, 4)),
}
"""count → (new, left, right) in order of work; 0 is the left frame, count + 1 the right."""


def load(weights: Path, device: str | None = None) -> Interpolator:
    device = device or best_device()
    return partial(in_betweens, _load_network(weights, device), device=device)


@lru_cache(maxsize=2)
def _load_network(weights: Path, device: str) -> "Film":
    film = network()
    load_weights(film, weights)
    half = torch.device(device).type == "cuda"
    return film.to(device, torch.float16 if half else torch.float32)


def network() -> "Film":
    return Film()


class Film(nn.Module):
    """34,436,667 parameters."""

    bytes_per_pixel = 3_300  # measured: 6.2 GB for a pair of 1280×768 in float32, half in half precision

    def __init__(self) -> None:
        super().__init__()
        self.extract = Extractor()
        self.predict_flow = FlowPyramid()
        self.fuse = Fusion()

    def look(self, images: Tensor) -> Look:
        """Seven levels: 3 image channels, then 64, 192, 448, 960 …"""
        levels = [images.to(self.fuse.output_conv.weight.dtype)]
        while len(levels) < LEVELS:
            levels.append(F.avg_pool2d(levels[-1], 2))
        return [torch.cat(level, 1) for level in zip(levels, self.extract(levels), strict=True)]

    def between(self, left: Look, right: Look, count: int) -> list[Tensor]:
        """`count`: 1 to 4."""
        made: dict[int, Tensor] = {}
        looks = {0: left, count + 1: right}
        for new, before, after in SCHEDULE[count]:
            for known in {before, after} - looks.keys():
                looks[known] = self.look(made[known])
            made[new] = self.at(looks[before], looks[after], (new - before) / (after - before)).clamp(0, 1)
        return [made[number] for number in range(1, count + 1)]

    def at(self, left: Look, right: Look, time: float) -> Tensor:
        """`time` in (0, 1)."""
        to_left = [flow * time for flow in self.predict_flow(right, left)]
        to_right = [flow * (1 - time) for flow in self.predict_flow(left, right)]
        levels = list(zip(left, right, to_left, to_right, strict=True))[:FUSED_LEVELS]
        image: Tensor = self.fuse([_aligned(*level) for level in levels])
        return image


def _aligned(left: Tensor, right: Tensor, to_left: Tensor, to_right: Tensor) -> Tensor:
    """At the time between; with the flows."""
    flows = torch.cat([to_left, to_right], 1).to(left.dtype)
    return torch.cat([warp(left, to_left), warp(right, to_right), flows], 1)


class Extractor(nn.Module):
    """Level i holds stage j of the tree from level i - j, j = 0 … min(i, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.extract_sublevels = Stages()

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        trees = [self.extract_sublevels(image, len(images) - level) for level, image in enumerate(images)]
        return [
            torch.cat([trees[level - stage][stage] for stage in range(min(level + 1, len(STAGES)))], 1)
            for level in range(len(images))
        ]


class Stages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *STAGES)
        self.convs = nn.ModuleList(
            nn.Sequential(Conv(a, b, 3), Conv(b, b, 3)) for a, b in zip(inputs, STAGES, strict=False)
        )

    def forward(self, image: Tensor, depth: int) -> list[Tensor]:
        found = [self.convs[0](image)]
        for stage in list(self.convs)[1:depth]:
            found.append(stage(F.avg_pool2d(found[-1], 2)))
        return found


class FlowPyramid(nn.Module):
    """(B, 2, H, W) in pixels per level, finest first."""

    def __init__(self) -> None:
        super().__init__()
        channels = [2 * sum(STAGES[: level + 1]) for level in range(len(STAGES))]
        predictors = [Predictor(inputs, width) for inputs, width in zip(channels, FLOW_WIDTHS, strict=True)]
        self._predictor = predictors[-1]  # levels 3 to 6
        self._predictors = nn.ModuleList(predictors[-2::-1])  # 0 is level 2, 2 is level 0

    def forward(self, start: Look, end: Look) -> list[Tensor]:
        flows: list[Tensor] = []
        for level in reversed(range(LEVELS)):
            a, b = start[level][:, 3:], end[level][:, 3:]
            predictor = self._predictor if level > 2 else self._predictors[2 - level]
            if flows:
                up = F.interpolate(2 * flows[0], size=a.shape[2:], mode="bilinear", align_corners=False)
                flows.insert(0, up + predictor(a, warp(b, up)))
            else:
                flows.insert(0, predictor(a, b))
        return flows


class Predictor(nn.Module):
    """Features of two frames, the second warped → float32 flow correction."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self._convs = nn.Sequential(
            Conv(inputs, width, 3),
            Conv(width, width, 3),
            Conv(width, width, 3),
            Conv(width, width // 2, 1),
            Conv(width // 2, 2, 1, slope=1),
        )

    def forward(self, start: Tensor, end: Tensor) -> Tensor:
        flow: Tensor = self._convs(torch.cat([start, end], 1))
        return flow.float()


class Fusion(nn.Module):
    """U-Net decoder → (B, 3, H, W), not clamped."""

    def __init__(self) -> None:
        super().__init__()
        aligned = [2 * (3 + 2 + sum(STAGES[: level + 1])) for level in range(FUSED_LEVELS)]
        below, self.convs = aligned[-1], nn.ModuleList()
        for level in reversed(range(FUSED_LEVELS - 1)):
            width = STAGES[level]
            self.convs.append(
                nn.ModuleList(
                    [Conv(below, width, 2, slope=1), Conv(aligned[level] + width, width, 3), Conv(width, width, 3)]
                )
            )
            below = width
        self.output_conv = nn.Conv2d(below, 3, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        x = levels[-1]
        for convs, level in zip(self.convs, reversed(levels[:-1]), strict=True):
            widen, join, smooth = cast(nn.ModuleList, convs)
            x = widen(F.interpolate(x, size=level.shape[2:], mode="nearest"))
            x = smooth(join(torch.cat([level, x], 1)))
        image: Tensor = self.output_conv(x)
        return image


class Conv(nn.Module):
    """Same size (even kernels pad right and bottom); slope 1: linear."""

    def __init__(self, inputs: int, outputs: int, side: int, slope: float = 0.2) -> None:
        super().__init__()
        before, after = (side - 1) // 2, side // 2
        self.pad = (before, after, before, after)
        self.conv = nn.Conv2d(inputs, outputs, side)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(F.pad(x, self.pad)), self.slope)
