"""Frames ⇄ tensors, the warp and the loop over pairs, each against numpy or against the slow way."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from wan_core.interpolation._tensors import Look, in_betweens, pairs_at_once, to_frames, to_images, warp

Frame = NDArray[np.uint8]


class Averaging:
    """A network of two lines that counts its looks."""

    bytes_per_pixel = 1

    def __init__(self) -> None:
        self.looked = 0

    def look(self, images: Tensor) -> Look:
        self.looked += images.shape[0]
        return [images, images / 2]

    def between(self, left: Look, right: Look, count: int) -> list[Tensor]:
        return [left[0] + (right[0] - left[0]) * number / (count + 1) for number in range(1, count + 1)]


@pytest.mark.parametrize("size", [(64, 64), (37, 51), (1, 1), (65, 130)])
def test_a_frame_survives_padding_and_back_bit_for_bit(size: tuple[int, int]) -> None:
    frames = [np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8) for seed in range(2)]
    images = to_images(frames, "cpu")
    assert images.shape[2] % 64 == images.shape[3] % 64 == 0
    assert (images[:, :, size[0] :, : size[1]] == images[:, :, size[0] - 1 : size[0], : size[1]]).all(), "edge repeated"
    assert all((a == b).all() for a, b in zip(to_frames(images, frames[0]), frames, strict=True))


def test_levels_are_rounded_and_clamped_and_never_truncated() -> None:
    values = torch.tensor([-3, -0.4, 0.4, 0.6, 100.4, 100.6, 254.6, 255.4, 999.0]) / 255
    like = np.zeros((1, len(values), 3), np.uint8)
    frame = to_frames(values.expand(1, 3, 1, -1), like)[0]
    assert frame[0, :, 0].tolist() == [0, 0, 0, 1, 100, 101, 255, 255, 255]


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (-3, 0), (0, 2), (0, -2), (5, -4)])
def test_the_warp_reads_at_x_plus_dx_and_y_plus_dy(dx: int, dy: int) -> None:
    image = torch.rand(1, 2, 24, 40, generator=torch.Generator().manual_seed(0))
    flow = torch.tensor([dx, dy]).view(1, 2, 1, 1).expand(1, 2, 24, 40)
    expected = np.roll(image.numpy(), (-dy, -dx), (2, 3))
    assert np.abs(warp(image, flow).numpy() - expected)[:, :, 5:-5, 5:-5].max() < 1e-4


def test_the_warp_repeats_the_edge() -> None:
    image = torch.arange(8.0).view(1, 1, 1, 8)
    flow = torch.zeros(1, 2, 1, 8)
    flow[:, 0] = 5
    assert warp(image, flow).flatten().tolist() == pytest.approx([5, 6, 7, 7, 7, 7, 7, 7], abs=1e-5)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_the_grid_is_float32_so_half_precision_images_do_not_move(kind: torch.dtype) -> None:
    image = torch.rand(1, 1, 8, 1280, generator=torch.Generator().manual_seed(0)).to(kind)
    still = warp(image, torch.zeros(1, 2, 8, 1280, dtype=kind))
    assert still.dtype == kind
    assert (still.float() - image.float()).abs().max() <= torch.finfo(kind).eps


def test_every_frame_is_looked_at_once(random_frames: Callable[..., list[Frame]]) -> None:
    network, frames = Averaging(), random_frames(7)
    assert len(list(in_betweens(network, pairwise(frames), 2, "cpu"))) == 6
    assert network.looked == 7


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 9])
def test_pairs_in_batches_give_what_pairs_alone_give(random_frames: Callable[..., list[Frame]], at_once: int) -> None:
    frames = random_frames(9)
    pairs = [*pairwise(frames[:5]), *pairwise(frames[5:])]  # a cut after the fifth
    network = Averaging()
    found = list(in_betweens(network, pairs, 3, "cpu", at_once))
    assert network.looked == 9
    for (left, right), new in zip(pairs, found, strict=True):
        for number, frame in enumerate(new, 1):
            truth = left + (right.astype(float) - left) * number / 4
            assert np.abs(frame - truth).max() <= 0.5 + 1e-3


def test_no_pairs_give_nothing() -> None:
    assert list(in_betweens(Averaging(), [], 2, "cpu")) == []


@pytest.mark.parametrize(("free", "expected"), [(0, 1), (10**8, 1), (4 * 10**8, 2), (10**12, 8)])
def test_a_card_takes_as_many_pairs_as_half_of_its_free_memory_holds(
    monkeypatch: pytest.MonkeyPatch, free: int, expected: int
) -> None:
    network = Averaging()
    network.bytes_per_pixel = 100
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**12))
    assert pairs_at_once(network, np.zeros((720, 1280, 3), np.uint8), "cuda") == expected
    assert pairs_at_once(network, np.zeros((720, 1280, 3), np.uint8), "cpu") == 1
