"""Shared by both networks. Tensors (B, C, H, W), images in [0, 1]."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from wan_core.errors import BackendError
from wan_core.frames import Frame
from wan_core.interpolation._pairs import Pair, group_pairs

MULTIPLE = 64
"""Both networks halve six times."""
MOST_PAIRS_AT_ONCE = 8

Look = list[Tensor]
"""Features of a batch of frames; dimension 0 is the frame."""


class Network(Protocol):
    bytes_per_pixel: int
    """Per pair and padded pixel."""

    def look(self, images: Tensor) -> Look:
        """(B, 3, H, W) → input of `between`."""
        ...

    def between(self, left: Look, right: Look, count: int) -> list[Tensor]:
        """(B, 3, H, W) each, at times i/(count+1); not clamped."""
        ...


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_weights(network: nn.Module, weights: Path) -> None:
    """Names and shapes must match exactly."""
    network.load_state_dict(load_file(weights), strict=True)
    network.eval().requires_grad_(False)


def in_betweens(
    network: Network, pairs: Iterable[Pair], count: int, device: str, at_once: int = 0
) -> Iterator[list[Frame]]:
    """`at_once` pairs together; 0: as many as fit the card's free memory."""
    source = iter(pairs)
    first = next(source, None)
    if first is None:
        return
    at_once = at_once or pairs_at_once(network, first[0], device)
    kept: tuple[Frame, Look] | None = None
    for run in group_pairs(chain([first], source), at_once):
        known = kept[1] if kept and kept[0] is run[0] else None
        frames, last = _run(network, run, known, count, device)
        kept = run[-1], last
        yield from frames


def pairs_at_once(network: Network, frame: Frame, device: str) -> int:
    """1 on a CPU; on a card what half of its free memory holds."""
    if torch.device(device).type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    height, width = (side + -side % MULTIPLE for side in frame.shape[:2])
    room: int = free // 2 // (network.bytes_per_pixel * height * width)
    return max(1, min(MOST_PAIRS_AT_ONCE, room))


@torch.inference_mode()
def _run(
    network: Network, run: list[Frame], known: Look | None, count: int, device: str
) -> tuple[list[list[Frame]], Look]:
    """New frames per pair, and the look at the last frame; `known`: that at the first."""
    try:
        first = network.look(to_images(run[:1], device)) if known is None else known
        rest = network.look(to_images(run[1:], device))
        images = network.between(_shift(first, rest), rest, count)
        film = [to_frames(image, run[0]) for image in images]
    except torch.OutOfMemoryError as error:
        raise BackendError("out_of_memory", "The card's memory is too small for the frames between.") from error
    return [list(pair) for pair in zip(*film, strict=True)], [part[-1:] for part in rest]


def _shift(first: Look, rest: Look) -> Look:
    """At the left frames."""
    if rest[0].shape[0] == 1:
        return first
    return [torch.cat([one, many[:-1]]) for one, many in zip(first, rest, strict=True)]


def to_images(frames: list[Frame], device: str) -> Tensor:
    """uint8 (H, W, 3) → float32 (B, 3, H', W') in [0, 1]; edges repeated up to multiples of 64."""
    batch = torch.from_numpy(np.stack(frames)).to(device).movedim(3, 1).float() / 255
    height, width = batch.shape[2:]
    return F.pad(batch, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")


def to_frames(images: Tensor, like: Frame) -> list[Frame]:
    """(B, 3, H', W') → frames of `like`'s size."""
    height, width = like.shape[:2]
    levels = (images[:, :, :height, :width].float().clamp(0, 1) * 255).round().byte()
    return list(levels.movedim(1, 3).contiguous().cpu().numpy())


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """At (x + dx, y + dy), bilinear, edges repeated; `flow`: (B, 2, H, W), (dx, dy) in pixels.

    The grid stays float32: half precision moves pixels by up to a quarter.
    """
    height, width = flow.shape[2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0].float()
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1].float()
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=3)
    read = F.grid_sample(image.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return read.to(image.dtype)
