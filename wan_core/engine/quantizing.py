"""Quantize experts to fp8 and the text encoder to int8, for cards too small for bf16. Needs torchao; irreversible.

The blocks' linear layers hold 98.3 % of an expert's weights; the rest keeps its precision.
"""

from importlib.util import find_spec
from typing import Any

import torch

PER_ROW = (90, 100)
"""Capabilities with fast row-wise scales; on consumer Blackwell (120) they fail (pytorch #192707)."""


def is_available() -> bool:
    return find_spec("torchao") is not None


def quantize(pipe: Any, device: torch.device, sm: int) -> None:
    """Quantize in place, part by part on `device`, where they stay."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    for expert in (pipe.transformer, pipe.transformer_2):
        quantize_expert(expert.to(device), sm)
    quantize_(pipe.text_encoder.to(device), Int8WeightOnlyConfig(), filter_fn=is_linear)


def quantize_expert(expert: Any, sm: int) -> None:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, PerTensor, quantize_

    scales = PerRow() if sm in PER_ROW else PerTensor()
    quantize_(expert, Float8DynamicActivationFloat8WeightConfig(granularity=scales), filter_fn=is_block_linear)


def is_linear(module: torch.nn.Module, name: str) -> bool:
    return isinstance(module, torch.nn.Linear)


def is_block_linear(module: torch.nn.Module, name: str) -> bool:
    """A LoRA's own layers stay as they are."""
    return isinstance(module, torch.nn.Linear) and name.startswith("blocks.") and "lora_" not in name
