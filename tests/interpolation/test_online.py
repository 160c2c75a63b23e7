"""The published weights themselves: they load, and they find motion. Needs the network: `pytest -m online`."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wan_core.interpolation import iter_interpolated, plan_interpolation
from wan_core.schema import InterpolatorModel

pytestmark = pytest.mark.online

Frame = NDArray[np.uint8]
SIZE = (256, 448)


@pytest.mark.parametrize("speed", [8, 16])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("model", ["film", "rife"])
def test_the_published_network_beats_averaging_on_a_moving_texture(
    model: InterpolatorModel,
    count: int,
    speed: float,
    tmp_path: Path,
    moving: Callable[..., Callable[[float], Frame]],
    psnr: Callable[..., float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = plan_interpolation(model, count, tmp_path)
    assert chosen.used == model, chosen.note
    film = moving(SIZE, speed)
    frames = [film(0), film(1)]
    average = (frames[0] + frames[1].astype(int) + 1) // 2
    middle = list(iter_interpolated(frames, count, chosen))[(count + 1) // 2]
    ours, theirs = psnr(middle, film(0.5), 48), psnr(average.astype(np.uint8), film(0.5), 48)
    what = f"{model}, {count} between, {speed} px a frame"
    with capsys.disabled():
        sys.stdout.write(f"\n{what}: {ours:.1f} dB, averaging {theirs:.1f} dB, gain {ours - theirs:.1f} dB\n")
    assert ours > theirs + 8, "8 dB is what motion compensation is worth here; optical flow gains more"
