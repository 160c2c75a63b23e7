"""The miniature's cheaper experts against the plain ones of diffusers."""

import gc
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wan_core.engine.loading import load
from wan_core.engine.miniature import fast_experts
from wan_core.engine.miniature.build import build_pipeline
from wan_core.profiles import profiles
from wan_core.settings import Settings

EXPERTS = ("transformer", "transformer_2")


@pytest.fixture(scope="module", params=EXPERTS)
def experts(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    plain = getattr(build_pipeline(), request.param)
    fast = deepcopy(plain)
    fast_experts.speed_up(fast)
    return plain, fast


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def step(seed: int) -> dict[str, torch.Tensor]:
    return {"hidden_states": random(1, 40, 3, 6, 8, seed=seed), "timestep": torch.tensor([900 - seed])}


def prompt(seed: int) -> torch.Tensor:
    return torch.cat([random(1, 6, 64, seed=seed), torch.zeros(1, 506, 64)], dim=1)


def clip(pipe: Any) -> np.ndarray:
    """Frames of a guided clip whose two steps are one of each expert."""
    pipe.set_progress_bar_config(disable=True)
    frames = pipe(
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)),
        "pan left",
        width=96,
        height=64,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=3.5,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
    ).frames[0]
    return (frames * 255).round().astype(int)


def test_the_frames_of_a_clip_are_the_plain_experts_but_for_rounding() -> None:
    pipe = build_pipeline()
    plain = clip(pipe)
    for name in EXPERTS:
        fast_experts.speed_up(getattr(pipe, name))
    off = abs(clip(pipe) - plain)
    assert off.max() <= 1 and (off > 0).mean() < 0.001


@torch.no_grad()
def forward(expert: Any, inputs: dict[str, torch.Tensor], text: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(expert(**inputs, encoder_hidden_states=text, return_dict=False)[0])


def test_both_passes_of_each_step_are_the_plain_experts(experts: tuple[Any, Any]) -> None:
    plain, fast = experts
    for number in (0, 1):
        inputs = step(number)
        for text in (prompt(2), prompt(3)):
            torch.testing.assert_close(forward(fast, inputs, text), forward(plain, inputs, text), rtol=1e-4, atol=2e-3)


def test_the_second_pass_of_a_step_needs_one_attention_less(
    experts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    attend = fast_experts.dispatch_attention_fn
    monkeypatch.setattr(fast_experts, "dispatch_attention_fn", lambda *a, **k: calls.append(1) or attend(*a, **k))
    counts, inputs = [], step(0)
    for text in (prompt(2), prompt(3)):
        forward(experts[1], inputs, text)
        counts.append(len(calls))
    assert counts[1] == 2 * counts[0] - 1


def test_another_timestep_of_the_same_latents_is_another_step(experts: tuple[Any, Any]) -> None:
    plain, fast = experts
    early = step(0)
    late = {**early, "timestep": torch.tensor([300])}
    forward(fast, early, prompt(2))
    torch.testing.assert_close(forward(fast, late, prompt(2)), forward(plain, late, prompt(2)), rtol=1e-4, atol=2e-3)


def test_nothing_of_a_step_is_kept_after_it(experts: tuple[Any, Any]) -> None:
    inputs = step(0)
    forward(experts[1], inputs, prompt(2))
    shared = experts[1].blocks[0].attn1.processor
    assert shared._result is not None
    inputs.clear()
    gc.collect()
    assert shared._result is None


@pytest.mark.parametrize("shape", [(64, 64), (240, 1408)])
def test_a_layer_without_its_zeros_is_the_layer(shape: tuple[int, int]) -> None:
    layer = torch.nn.Linear(shape[1], shape[0]).requires_grad_(False)
    layer.weight[5:] = 0
    layer.weight[:, 9:] = 0
    x = random(1, 40, shape[1], seed=0)
    fast = fast_experts.NonZeroLinear(layer)
    assert fast.weight.numel() == 16 * 16
    torch.testing.assert_close(fast(x), layer(x))


def test_a_layer_of_zeros_gives_its_bias() -> None:
    layer = torch.nn.Linear(32, 48).requires_grad_(False)
    layer.weight[:] = 0
    out = fast_experts.NonZeroLinear(layer)(random(1, 7, 32, seed=0))
    assert torch.equal(out, layer.bias.expand(1, 7, -1))


def test_the_loaded_miniature_has_the_cheaper_experts() -> None:
    pipe = load(profiles()["miniature"], Settings(), lambda event: None).pipe
    layers = [layer for name in EXPERTS for layer in getattr(pipe, name).blocks.modules()]
    assert not any(isinstance(layer, torch.nn.Linear) for layer in layers)
