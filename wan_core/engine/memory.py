"""Compute which arrangement of the model fits a card, and arrange a pipeline so.

Sizes are A14B's (exact weights, peak activations of an eager forward), checked against published peaks: 89.5 GB on one
H200 at 720p (SGLang #25483), 72.9 GB on an A100 (diffusers #12011).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from diffusers.hooks import HookRegistry
from diffusers.hooks.group_offloading import (
    _GROUP_OFFLOADING,
    _LAYER_EXECUTION_TRACKER,
    _LAZY_PREFETCH_GROUP_OFFLOADING,
)

from wan_core.geometry import Size
from wan_core.schema import Acceleration
from wan_core.workload import tokens

GIB = 2**30
EXPERT = 26.6  # bf16; sizes in this file are GiB unless a name says otherwise
EXPERT_FP8 = 13.5
TEXT_ENCODER = 10.6
TEXT_ENCODER_INT8 = 6.2
VAE = 0.5
RESERVE = 1.5  # CUDA context, workspaces, fragmentation
GROUP = 2 * EXPERT / 40  # two blocks of 40: the one that runs and the one that is on its way
FP8_FROM_SM = 89  # Ada; Hopper is 90, Blackwell 100 and 120

Placement = Literal["resident", "model_offload", "group_offload"]
Weights = Literal["bf16", "fp8"]
FASTEST_FIRST: tuple[tuple[Weights, Placement], ...] = (
    ("bf16", "resident"),
    ("fp8", "resident"),
    ("fp8", "model_offload"),
    ("bf16", "model_offload"),
    ("fp8", "group_offload"),
    ("bf16", "group_offload"),
)


@dataclass(frozen=True)
class Plan:
    """An arrangement for a card with `free` GiB. fp8 experts go with an int8 text encoder."""

    weights: Weights
    placement: Placement
    tiled: bool
    free: float = field(compare=False)

    @property
    def sentence(self) -> str:
        return f"{self.free:.0f} GiB free: {self.words}."

    @property
    def words(self) -> str:
        where = {
            "resident": "all on the card",
            "model_offload": "one part on the card at a time",
            "group_offload": "passing through the card block by block",
        }[self.placement]
        return f"{self.weights} experts, {where}{', tiled VAE' if self.tiled else ''}"

    @property
    def host_bytes(self) -> int:
        """Main memory of weights that do not stay on the card."""
        expert, text_encoder = _weights(self.weights)
        return 0 if self.placement == "resident" else int((2 * expert + text_encoder + VAE) * GIB)


def plan(card_bytes_free: int, sm: int, size: Size, frames: int, acceleration: Acceleration, fp8: bool = True) -> Plan:
    """Return the fastest arrangement that fits compute capability `sm` (H200: 90), else the smallest.

    `fp8`: whether weights may be quantized at all; `none` never does.
    """
    may_quantize = fp8 and acceleration == "regular" and sm >= FP8_FROM_SM
    return plans(card_bytes_free, size, frames, ("bf16", "fp8") if may_quantize else ("bf16",))[0]


def plans(card_bytes_free: int, size: Size, frames: int, weights: Sequence[Weights]) -> list[Plan]:
    """Arrangements that fit, fastest first; if none fits, the smallest."""
    free = card_bytes_free / GIB
    candidates = [
        (kind, placement, tiled) for kind, placement in FASTEST_FIRST if kind in weights for tiled in (False, True)
    ]
    fitting = [candidate for candidate in candidates if peak(*candidate, size, frames) <= free]
    return [Plan(*candidate, free) for candidate in fitting or candidates[-1:]]


def peak(weights: Weights, placement: Placement, tiled: bool, size: Size, frames: int) -> float:
    """Peak card memory of a clip in GiB."""
    expert, text_encoder = _weights(weights)
    transformer, vae = transformer_activations(size, frames), vae_activations(size, frames, tiled)
    if placement == "resident":
        return 2 * expert + text_encoder + VAE + max(transformer, vae) + RESERVE
    if placement == "model_offload":
        return max(expert + transformer, text_encoder, VAE + vae) + RESERVE
    return max(GROUP + transformer, text_encoder, VAE + vae) + RESERVE


def transformer_activations(size: Size, frames: int) -> float:
    """GiB, fitted to 5.3 at 832×480×81, 9.8 at 1280×720×81, 13.6 at 1280×720×121."""
    return 1.85 + 1.053e-4 * tokens(size, frames)


def vae_activations(size: Size, frames: int, tiled: bool) -> float:
    """GiB in fp32: 7.6 at 832×480, 17.6 at 1280×720; tiled 1.7 and 3.9, mostly the finished clip."""
    if not tiled:
        return 1.91e-5 * size.pixels
    finished = 4 * 3 * size.pixels * frames / GIB
    return 2 * finished + 2e-6 * size.pixels


def _weights(weights: Weights) -> tuple[float, float]:
    """GiB of one expert and of the text encoder."""
    return (EXPERT_FP8, TEXT_ENCODER_INT8) if weights == "fp8" else (EXPERT, TEXT_ENCODER)


def arrange(pipe: Any, wanted: Plan, device: torch.device) -> None:
    """Move the parts of `pipe`; weights stay as loaded, bf16 or fp8."""
    pipe.remove_all_hooks()
    _ungroup(pipe)
    if wanted.placement == "resident":
        pipe.to(device)
    elif wanted.placement == "model_offload":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_group_offload(
            onload_device=device,
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=device.type == "cuda",
            exclude_modules=["vae"],
        )
        pipe.vae.to(device)
    tile(pipe, wanted.tiled)


def _ungroup(pipe: Any) -> None:
    """Remove group offloading's hooks; this leaves the weights in main memory."""
    for component in pipe.components.values():
        if isinstance(component, torch.nn.Module):
            hooks = HookRegistry.check_if_exists_or_initialize(component)
            for name in (_GROUP_OFFLOADING, _LAYER_EXECUTION_TRACKER, _LAZY_PREFETCH_GROUP_OFFLOADING):
                hooks.remove_hook(name)


def tile(pipe: Any, tiled: bool) -> None:
    """Tiling: less memory, a quarter more time, maybe faint seams."""
    if tiled:
        pipe.vae.enable_tiling()
    else:
        pipe.vae.disable_tiling()
