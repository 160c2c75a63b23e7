"""Wan 2.2 with random weights in real shapes and dtypes: speed and memory need no trained ones.

Weights are made in main memory, as a file would be read, and go through the app's own loading.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from wan_core.engine.loading import Source
from wan_core.engine.turbo import Lora

NOISE = 2**20  # random numbers that are repeated: drawing 14 billion would take minutes
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2")


@dataclass(frozen=True)
class Layout:
    """The arguments of each part's class, and the rank of the LoRAs."""

    expert: Mapping[str, Any]
    vae: Mapping[str, Any]
    text: Mapping[str, Any]
    rank: int


A14B = Layout(
    {"in_channels": 36, "out_channels": 16},
    {},
    {"vocab_size": 256384, "d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "d_kv": 64},
    64,
)
TINY = Layout(
    {"in_channels": 36, "out_channels": 16, "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 12}
    | {"text_dim": 32, "ffn_dim": 32, "rope_max_seq_len": 64},
    {"base_dim": 3, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    {"vocab_size": 8, "d_model": 32, "d_ff": 37, "num_layers": 2, "num_heads": 4, "d_kv": 8},
    2,
)


def source(layout: Layout) -> Source:
    readers: dict[str, tuple[str, Callable[[], Any]]] = {
        "text_encoder": ("text encoder", lambda: text_encoder(layout)),
        "transformer": ("high-noise expert", lambda: expert(layout)),
        "transformer_2": ("low-noise expert", lambda: expert(layout)),
        "vae": ("picture encoder and decoder", lambda: AutoencoderKLWan(**layout.vae)),
    }
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    nothing = dict.fromkeys(("tokenizer", "image_encoder", "image_processor"))
    return Source(
        readers, lambda **parts: WanImageToVideoPipeline(**nothing, **parts, scheduler=scheduler, boundary_ratio=0.9)
    )


def expert(layout: Layout) -> Any:
    """In the dtypes of `from_pretrained`: bf16 with fp32 islands."""
    islands = WanTransformer3DModel._keep_in_fp32_modules
    made = _bare(lambda: WanTransformer3DModel(**layout.expert))
    for name, parameter in made.named_parameters():
        if any(island in name for island in islands):
            parameter.data = parameter.data.float()
    config = made.config
    made.rope = type(made.rope)(config.attention_head_dim, config.patch_size, config.rope_max_seq_len)
    return _filled(made)


def text_encoder(layout: Layout) -> Any:
    made = _bare(lambda: UMT5EncoderModel(UMT5Config(**layout.text)))
    made.encoder.embed_tokens = made.shared
    return _filled(made)


def lora(layout: Layout, of_expert: Any) -> Lora:
    """For every linear layer that Lightning's has parts for."""
    tensors = {}
    for name, layer in of_expert.named_modules():
        if isinstance(layer, torch.nn.Linear) and name.startswith("blocks.") and name.endswith(TARGETS):
            key = f"transformer.{name}.lora_"
            tensors[f"{key}A.weight"] = torch.randn(layout.rank, layer.in_features, dtype=torch.bfloat16)
            tensors[f"{key}B.weight"] = torch.randn(layer.out_features, layout.rank, dtype=torch.bfloat16) / 100
    return Lora("random", tensors, None, {})


def _bare(make: Callable[[], Any]) -> Any:
    """The module with numbers that mean nothing."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            return make().to_empty(device="cpu")
    finally:
        torch.set_default_dtype(torch.float32)


def _filled(module: Any) -> Any:
    noise = 0.02 * torch.randn(NOISE, generator=torch.Generator().manual_seed(0))
    for parameter in module.parameters():
        flat, numbers = parameter.data.view(-1), noise.to(parameter.dtype)
        for start in range(0, flat.numel(), NOISE):
            part = flat[start : start + NOISE]
            part.copy_(numbers[: part.numel()])
    return module
