"""Frames whose truth is known: a band-limited texture that can be shifted by any fraction of a pixel."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
MovingTexture = Callable[[float], Frame]


def texture(size: tuple[int, int], finest: float, seed: int = 0) -> NDArray[np.complex128]:
    """Spectrum (H, W, 3) of a periodic texture with details of about `finest` pixels and more."""
    y, x = np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])
    noise = np.fft.fft2(np.random.default_rng(seed).standard_normal((*size, 3)), axes=(0, 1))
    return np.asarray(noise * np.exp(-((np.hypot(y, x) * finest) ** 2))[..., None])


def shifted(spectrum: NDArray[np.complex128], right: float, down: float) -> Frame:
    """The texture moved by a fraction of a pixel, without any resampling error; uint8 (H, W, 3)."""
    y, x = np.fft.fftfreq(spectrum.shape[0])[:, None], np.fft.fftfreq(spectrum.shape[1])
    moved = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (y * down + x * right))[..., None], axes=(0, 1)).real
    return np.clip(128 + 45 * moved / moved.std(), 0, 255).round().astype(np.uint8)


@pytest.fixture
def moving() -> Callable[..., MovingTexture]:
    """moving(size, speed)(time): a frame of a texture that moves `speed` pixels right and half as many down."""

    def of(size: tuple[int, int], speed: float, finest: float = 12) -> MovingTexture:
        spectrum = texture(size, finest)
        return lambda time: shifted(spectrum, speed * time, speed * time / 2)

    return of


@pytest.fixture
def random_frames() -> Callable[..., list[Frame]]:
    """Unrelated frames of smooth noise in the same colours, so that no pair looks like a cut."""

    def some(count: int, size: tuple[int, int] = (40, 56)) -> list[Frame]:
        spectrum = texture(size, 8)
        return [shifted(spectrum, 3 * number, number) for number in range(count)]

    return some


def psnr(a: Frame, b: Frame, border: int = 0) -> float:
    inner = slice(border, -border or None)
    error = (a.astype(float) - b.astype(float))[inner, inner]
    return float(10 * np.log10(255**2 / max(float(np.square(error).mean()), 1e-9)))


@pytest.fixture(name="psnr")
def psnr_fixture() -> Callable[..., float]:
    return psnr
