"""Lightning LoRAs of random numbers for the tiny pipeline, in the published key format: Wan's own names of layers."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from wan_core.engine import turbo

RANK = 2
LAYERS = {
    "self_attn.q": (24, 24),
    "self_attn.o": (24, 24),
    "cross_attn.k": (24, 24),
    "ffn.0": (24, 32),
    "ffn.2": (32, 24),
}


OF_WAN_21 = {"cross_attn.k_img": (24, 24), "cross_attn.v_img": (24, 24)}


def lora(layers: dict[str, tuple[int, int]], blocks: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    """As they are published: Wan's own names of layers, `lora_down`, `lora_up` and a bias, and norms that are left."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for block in range(blocks):
        for layer, (inputs, outputs) in layers.items():
            key = f"diffusion_model.blocks.{block}.{layer}"
            tensors[f"{key}.lora_down.weight"] = torch.randn(RANK, inputs, generator=generator)
            tensors[f"{key}.lora_up.weight"] = torch.randn(outputs, RANK, generator=generator)
            tensors[f"{key}.diff_b"] = torch.randn(outputs, generator=generator)
        tensors[f"diffusion_model.blocks.{block}.self_attn.norm_q.diff"] = torch.zeros(24)
    return tensors


def of_wan_21(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same with the picture's embedding that Wan 2.2 no longer has."""
    picture = {"img_emb.proj.1.lora_down.weight": (RANK, 40), "img_emb.proj.1.lora_up.weight": (40, RANK)}
    picture |= {"img_emb.proj.1.diff_b": (40,), "img_emb.proj.0.diff": (40,), "img_emb.proj.0.diff_b": (40,)}
    return tensors | {f"diffusion_model.{name}": torch.ones(shape) for name, shape in picture.items()}


def publish(folder: Path) -> Path:
    """Both files in `folder`, the low-noise one with the layers of Wan 2.1 that the published one has."""
    folder.mkdir()
    save_file(lora(LAYERS, seed=0), folder / turbo.HIGH_NOISE)
    save_file(of_wan_21(lora(LAYERS | OF_WAN_21, seed=1)), folder / turbo.LOW_NOISE)
    return folder
