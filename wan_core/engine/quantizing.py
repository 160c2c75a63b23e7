"""fp8 experts and an int8 text encoder, for cards that cannot hold bf16 ones. Needs torchao; one way only.

The linear layers of the blocks hold 98.3 % of an expert's weights; all else keeps its precision, the fp32 islands too.
"""

from importlib.util import find_spec
from typing import Any

import torch

PER_ROW = (90, 100)
"""Compute capabilities with fast row-wise scales; on consumer Blackwell (120) they fail (pytorch #192707)."""


def is_available() -> bool:
    return find_spec("torchao") is not None


def quantize(pipe: Any, device: torch.device, sm: int) -> None:
    """Quantizes the parts of `pipe` in place, one after the other on `device`, where they then stay."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    for expert in (pipe.transformer, pipe.transformer_2):
        quantize_expert(expert.to(device), sm)
    quantize_(pipe.text_encoder.to(device), Int8WeightOnlyConfig(), filter_fn=is_linear)


def quantize_expert(expert: Any, sm: int) -> None:
    """fp8 weights and activations in the blocks of one expert."""
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, PerTensor, quantize_

    scales = PerRow() if sm in PER_ROW else PerTensor()
    quantize_(expert, Float8DynamicActivationFloat8WeightConfig(granularity=scales), filter_fn=is_block_linear)


def is_linear(module: torch.nn.Module, name: str) -> bool:
    return isinstance(module, torch.nn.Linear)


def is_block_linear(module: torch.nn.Module, name: str) -> bool:
    """The linear layers of the blocks, below a LoRA too, but not the LoRA's own small ones."""
    return isinstance(module, torch.nn.Linear) and name.startswith("blocks.") and "lora_" not in name
