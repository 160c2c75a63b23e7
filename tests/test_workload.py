"""Counted operations: the formula against torch's own count."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.jobs import a_request
from wan_core.engine.miniature import architecture
from wan_core.engine.miniature.build import build_transformer
from wan_core.estimator import Estimator
from wan_core.geometry import Size
from wan_core.profiles import Machine, profiles
from wan_core.schedule import schedule_of
from wan_core.workload import A14B_EXPERT, TEXT_TOKENS, sampling_flops, tokens


@pytest.fixture
def fresh_profiles() -> Iterator[None]:
    profiles.cache_clear()
    yield
    profiles.cache_clear()


@pytest.mark.parametrize(
    "size, frames, petaflops",
    [
        (Size(832, 480), 81, 1.678),
        (Size(1008, 560), 81, 2.885),
        (Size(1024, 576), 81, 3.097),
        (Size(1280, 720), 81, 6.523),
        (Size(832, 480), 121, 3.095),
        (Size(1280, 720), 121, 12.92),
        (Size(832, 480), 17, 0.242),
        (Size(624, 624), 81, 1.615),
        (Size(960, 960), 81, 6.523),
    ],
    ids=str,
)
def test_the_formula_counts_what_torch_counted_on_the_full_model(size: Size, frames: int, petaflops: float) -> None:
    assert A14B_EXPERT.forward_flops(tokens(size, frames)) / 1e15 == pytest.approx(petaflops, rel=0.005)


@pytest.mark.parametrize("size, frames", [(Size(208, 128), 17), (Size(160, 160), 33)], ids=str)
@pytest.mark.parametrize("expert", ["high_noise", "low_noise"])
def test_the_formula_counts_what_torch_counts_in_the_blocks_of_the_built_miniature(
    expert: str, size: Size, frames: int
) -> None:
    sizes = {"high_noise": architecture.HIGH_NOISE, "low_noise": architecture.LOW_NOISE}[expert]
    shape = getattr(profiles()["miniature"].experts, expert)
    assert flops_of_blocks(sizes, size, frames) == shape.forward_flops(tokens(size, frames))


def flops_of_blocks(sizes: dict[str, Any], size: Size, frames: int) -> int:
    """Counted by torch; attention written out, as it counts no fused one on a CPU."""
    model = build_transformer(sizes).requires_grad_(False).eval()
    latents = torch.zeros(1, sizes["in_channels"], (frames - 1) // 4 + 1, size.height // 8, size.width // 8)
    text = torch.zeros(1, TEXT_TOKENS, sizes["text_dim"])
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(latents, torch.tensor([500]), text)
    counts = counter.get_flop_counts()
    return sum(sum(counts[f"WanTransformer3DModel.blocks.{index}"].values()) for index in range(sizes["num_layers"]))


def test_half_the_feed_forward_width_in_the_architecture_is_less_work_and_less_time_in_the_estimate(
    monkeypatch: pytest.MonkeyPatch, fresh_profiles: None
) -> None:
    def estimate() -> tuple[float, float]:
        miniature, size = profiles()["miniature"], Size(832, 480)
        stages = Estimator(Machine()).estimate(request, size, miniature).stages
        return sampling_flops(request, Size(208, 128), miniature.experts), stages["sampling"]

    request = a_request(num_inference_steps=8)
    flops, seconds = estimate()
    width = architecture.LOW_NOISE["ffn_dim"]
    monkeypatch.setitem(architecture.LOW_NOISE, "ffn_dim", width // 2)
    profiles.cache_clear()
    fewer_flops, less_seconds = estimate()
    video_tokens = tokens(Size(208, 128), 17)
    saved = schedule_of(request).low_noise_forwards * 3 * 2 * 2 * video_tokens * 240 * (width // 2)
    assert flops - fewer_flops == saved, "three blocks of two matrices, 240 wide"
    assert less_seconds < seconds
