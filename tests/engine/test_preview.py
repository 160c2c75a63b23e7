"""Previews: colours against least squares and against the VAE, a file people can see, and never more than 1 %."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from tests.engine.conftest import MakeJob
from wan_core.engine import preview
from wan_core.engine.loading import Engine
from wan_core.engine.miniature.build import build_pipeline
from wan_core.engine.preview import SHARE, WAN, Colours, Previews, fit_colours, least_squares, normalize, soft_colours
from wan_core.engine.sampling import sample
from wan_core.events import Preview
from wan_core.files import FileStore


def test_least_squares_agrees_with_numpy_and_finds_a_linear_truth() -> None:
    generator = torch.Generator().manual_seed(0)
    latents, factors = torch.randn(200, 16, generator=generator), torch.randn(16, 3, generator=generator)
    colours = latents @ factors + torch.tensor([0.1, -0.2, 0.3])
    found = least_squares(latents, colours)
    assert torch.allclose(found.factors, factors, atol=1e-4)
    oracle = np.linalg.lstsq(np.c_[latents, np.ones(200)], colours.numpy(), rcond=None)[0]
    assert np.allclose(np.r_[found.factors, found.bias[None]], oracle, atol=1e-4)


def test_the_map_fitted_to_a_vae_explains_the_colours_it_was_fitted_to() -> None:
    vae = build_pipeline().vae
    colours, still = fit_colours(vae), soft_colours(1, 64)
    with torch.no_grad():
        latents = normalize(vae, vae.encode(still[:, :, None]).latent_dist.mode())
    seen = colours.pictures(latents)[0].astype(float)
    wanted = ((torch.nn.functional.adaptive_avg_pool2d(still, (8, 8))[0].permute(1, 2, 0) + 1) * 127.5).numpy()
    assert np.square(seen - wanted).mean() < np.square(wanted - wanted.mean((0, 1))).mean()


def test_published_colours_have_one_row_for_each_of_wans_channels() -> None:
    assert WAN.factors.shape == (16, 3) and WAN.bias.shape == (3,)
    grey = WAN.pictures(torch.zeros(1, 16, 2, 4, 5))
    assert grey.shape == (2, 4, 5, 3)
    assert np.abs(grey[0, 0, 0] - (WAN.bias.numpy() + 1) * 127.5).max() <= 0.5


def test_a_preview_is_an_animated_webp_large_enough_to_see(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (6, 16, 26, 3), np.uint8)
    preview.write(tmp_path / "preview.webp", pictures)
    with Image.open(tmp_path / "preview.webp") as shown:
        assert (shown.n_frames, shown.size) == (6, (182, 112))
    assert [path.name for path in tmp_path.iterdir()] == ["preview.webp"]


def test_a_run_tells_previews_and_the_file_is_there(
    engine: Engine, job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "SHARE", 1e9)
    path = FileStore(tmp_path).preview("job")
    events = list(sample(engine, job(num_inference_steps=20), "a cat", FileStore(tmp_path), lambda: False))
    assert events.count(Preview()) == 6
    with Image.open(path) as shown:
        assert shown.n_frames == 3


class Clock:
    """A clock that moves when told; writing a preview takes `cost` seconds of it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("cost", [0.001, 0.1, 3.0])
def test_previews_never_cost_more_than_a_hundredth_of_the_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    clock, step_s, steps = Clock(), 1.0, 40
    monkeypatch.setattr(preview, "write", lambda path, pictures: setattr(clock, "now", clock.now + cost))
    previews = Previews(tmp_path / "preview.webp", Colours(torch.zeros(16, 3), torch.zeros(3)), steps, clock=clock)
    written = 0
    for step in range(steps):
        clock.now += step_s
        written += previews.offer(step, torch.zeros(1, 16, 1, 2, 2), step_s * (steps - step - 1))
    assert previews.spent <= SHARE * steps * step_s + 1e-9 or written == 1
    assert written == {0.001: 8, 0.1: 4, 3.0: 1}[cost]


def test_a_preview_that_cannot_be_written_costs_nothing_but_itself(tmp_path: Path) -> None:
    previews = Previews(tmp_path / "missing" / "preview.webp", WAN, steps=1)
    assert previews.offer(0, torch.zeros(1, 16, 1, 4, 4), seconds_left=1e9) is False


def test_previews_take_their_detail_from_the_picture_where_they_show_it_and_nowhere_else() -> None:
    """The content moves to the right; in one square something else is seen from the second frame on."""
    generator = np.random.default_rng(0)
    soft = np.asarray(Image.fromarray(generator.integers(0, 255, (12, 20, 3), np.uint8)).resize((208, 128)))
    picture = np.clip(soft + generator.normal(0, 12, soft.shape), 0, 255).astype(np.uint8)
    clip = np.stack([np.roll(soft, 2 * step, 1) for step in range(5)])
    clip[1:, 40:88, 100:148] = 255 - clip[1:, 40:88, 100:148]
    latents = np.stack([np.asarray(Image.fromarray(each).resize((26, 16), Image.Resampling.BOX)) for each in clip])
    shown = preview.with_detail(latents, picture)
    assert shown.shape == (5, 128, 208, 3)
    assert np.abs(shown[0].astype(float) - picture).mean() < 4
    last = grain(shown[4])
    assert last[:24, 24:].mean() > 0.7 * grain(picture).mean()
    assert last[54:74, 114:134].mean() < 0.2 * grain(picture).mean()


def grain(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Detail finer than a pixel or two, in grey levels."""
    soft = np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(1)))
    return np.asarray(np.abs(frame.astype(float) - soft).mean(-1))
