"""What would be quantized, on the full-size architecture without its numbers."""

import pytest
import torch
from diffusers import WanTransformer3DModel

from wan_core.engine.memory import EXPERT, GIB
from wan_core.engine.quantizing import is_block_linear


@pytest.fixture(scope="module")
def a14b() -> WanTransformer3DModel:
    with torch.device("meta"):
        return WanTransformer3DModel(in_channels=36, out_channels=16)


def weights_of(model: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def test_the_linear_layers_of_the_blocks_hold_almost_all_weights(a14b: WanTransformer3DModel) -> None:
    chosen = [module for name, module in a14b.named_modules() if is_block_linear(module, name)]
    assert sum(map(weights_of, chosen)) / weights_of(a14b) == pytest.approx(0.983, abs=0.002)
    assert len(chosen) == 40 * 10


def test_an_expert_is_as_large_as_the_planner_thinks(a14b: WanTransformer3DModel) -> None:
    assert weights_of(a14b) == 14_288_901_184
    assert 2 * weights_of(a14b) / GIB == pytest.approx(EXPERT, abs=0.05)


def test_the_islands_and_the_loras_keep_their_precision(a14b: WanTransformer3DModel) -> None:
    linear = torch.nn.Linear(1, 1)
    assert not is_block_linear(
        a14b.condition_embedder.time_embedder.linear_1, "condition_embedder.time_embedder.linear_1"
    )
    assert not is_block_linear(a14b.blocks[0].norm2, "blocks.0.norm2")
    assert is_block_linear(linear, "blocks.0.attn1.to_q.base_layer")
    assert not is_block_linear(linear, "blocks.0.attn1.to_q.lora_A.lightning")
