"""The miniature's cheaper VAE against the plain one of diffusers."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from wan_core.engine.decoding import iter_decoded
from wan_core.engine.loading import load
from wan_core.engine.miniature import fast_vae
from wan_core.engine.miniature.build import build_pipeline
from wan_core.profiles import profiles
from wan_core.settings import Settings


@pytest.fixture(scope="module")
def build_vae() -> Callable[[], Any]:
    built = build_pipeline().vae
    return lambda: deepcopy(built)


def picture_and_black_frames(frames: int, height: int = 48, width: int = 64) -> torch.Tensor:
    video = torch.zeros(1, 3, frames, height, width)
    video[:, :, 0] = torch.rand((3, height, width), generator=torch.Generator().manual_seed(1)) * 2 - 1
    return video


def moments(vae: Any, video: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(vae.encode(video).latent_dist.parameters)


def frames_of(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.from_numpy(piece) for piece in iter_decoded(vae, latents)]).int()


def test_frames_are_the_plain_vaes_within_one_level(build_vae: Callable[[], Any]) -> None:
    plain, fast = build_vae(), build_vae()
    fast_vae.speed_up(fast)
    still = moments(plain, picture_and_black_frames(1))[:, :18]
    noise = torch.randn((1, 18, 3, 6, 8), generator=torch.Generator().manual_seed(0))
    difference = (frames_of(fast, still + 0.3 * noise) - frames_of(plain, still + 0.3 * noise)).abs()
    assert difference.shape == (9, 48, 64, 3)
    assert difference.max() <= 1 and (difference > 0).float().mean() < 0.002


def test_latents_are_the_plain_vaes_but_for_rounding(build_vae: Callable[[], Any]) -> None:
    plain, fast = build_vae(), build_vae()
    fast_vae.speed_up(fast)
    video = picture_and_black_frames(17)
    torch.testing.assert_close(moments(fast, video), moments(plain, video), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frames", [1, 5, 9, *(pytest.param(longer, marks=pytest.mark.slow) for longer in (33, 81))])
def test_repeated_latents_are_the_encoded_ones_bit_for_bit(build_vae: Callable[[], Any], frames: int) -> None:
    vae, video = build_vae(), picture_and_black_frames(frames)
    oracle = moments(vae, video)
    fast_vae.repeat_latents_of_black_frames(vae)
    assert torch.equal(moments(vae, video), oracle)


def test_only_five_of_the_frames_are_encoded(build_vae: Callable[[], Any]) -> None:
    vae, encoded = build_vae(), []
    fast_vae.speed_up(vae)
    vae.encoder.register_forward_pre_hook(lambda _, args: encoded.append(args[0].shape[2]))
    moments(vae, picture_and_black_frames(81))
    assert sum(encoded) == 5


@pytest.mark.slow
def test_a_clip_that_is_not_black_after_its_first_frame_is_encoded_whole(build_vae: Callable[[], Any]) -> None:
    vae, video = build_vae(), picture_and_black_frames(33)
    video[:, :, 20] = 0.5
    oracle = moments(vae, video)
    fast_vae.repeat_latents_of_black_frames(vae)
    assert torch.equal(moments(vae, video), oracle)


def test_a_vae_whose_latents_of_black_frames_change_is_refused(pipe: Any) -> None:
    with pytest.raises(ValueError, match="black frames"):
        fast_vae.speed_up(pipe.vae)


@pytest.mark.slow
def test_the_loaded_miniature_has_it() -> None:
    engine = load(profiles()["miniature"], Settings(), lambda _: None)
    encoded: list[int] = []
    engine.pipe.vae.encoder.register_forward_pre_hook(lambda _, args: encoded.append(args[0].shape[2]))
    moments(engine.pipe.vae, picture_and_black_frames(33))
    assert sum(encoded) == 5


def test_the_estimate_counts_the_frames_that_are_really_encoded() -> None:
    rates = profiles()["miniature"].rates
    assert [rates.encoded_frames(frames) for frames in (1, 17, 121)] == [
        1,
        fast_vae.ENCODED_FRAMES,
        fast_vae.ENCODED_FRAMES,
    ]
    assert profiles()["a14b"].rates.encoded_frames(121) == 121
