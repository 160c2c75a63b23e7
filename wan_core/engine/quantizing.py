"""Quantize experts to fp8 and the text encoder to int8, for cards too small for bf16. Needs torchao; irreversible.

The blocks' linear layers hold 98.3 % of an expert's weights; the rest keeps its precision.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from wan_core.engine.memory import says_out_of_memory

PER_ROW = (90, 100)
"""Capabilities with fast row-wise scales; on consumer Blackwell (120) they fail (pytorch #192707)."""


class CannotQuantize(Exception):
    """Its cause says why."""


def is_available() -> bool:
    return find_spec("torchao") is not None


def quantize_part(name: str, part: Any, sm: int, device: torch.device, home: torch.device) -> None:
    """Quantize an expert or the text encoder of a pipeline in place; other parts stay as they are.

    Raises:
        CannotQuantize: torchao, its kernels or the card failed in any way but lack of memory.
    """
    try:
        if name == "text_encoder":
            from torchao.quantization import Int8WeightOnlyConfig

            _quantize_layers(part, Int8WeightOnlyConfig(), is_linear, device, home)
        elif name.startswith("transformer"):
            quantize_expert(part, sm, device, home)
    except Exception as error:  # a library may raise anything: then it is not for this machine
        if says_out_of_memory(error):
            raise
        raise CannotQuantize from error


def quantize_expert(expert: Any, sm: int, device: torch.device, home: torch.device) -> None:
    _quantize_layers(expert, expert_config(sm), is_block_linear, device, home)


def expert_config(sm: int) -> Any:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, PerTensor

    return Float8DynamicActivationFloat8WeightConfig(granularity=PerRow() if sm in PER_ROW else PerTensor())


def _quantize_layers(
    part: Any,
    config: Any,
    is_wanted: Callable[[torch.nn.Module, str], bool],
    device: torch.device,
    home: torch.device,
) -> None:
    """Each layer is quantized on `device` and then lies at `home`: neither ever holds the whole part in bf16 too."""
    from torchao.quantization import quantize_

    for name, layer in list(part.named_modules()):
        if is_wanted(layer, name):
            quantize_(layer.to(device), config, filter_fn=is_linear)
            layer.to(home)


def is_linear(module: torch.nn.Module, name: str) -> bool:
    return isinstance(module, torch.nn.Linear)


def is_block_linear(module: torch.nn.Module, name: str) -> bool:
    """A LoRA's own layers stay as they are."""
    return isinstance(module, torch.nn.Linear) and name.startswith("blocks.") and "lora_" not in name
