"""Compute which arrangement of the model fits a card, and arrange a pipeline so.

Sizes are A14B's (exact weights, peak activations of an eager forward), checked against published peaks: 89.5 GB on one
H200 at 720p (SGLang #25483), 72.9 GB on an A100 (diffusers #12011).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
LORA = 0.6  # one Lightning LoRA of rank 64 in bf16
EXPERT_PINNED = 40.8  # PyTorch pins each tensor in a block of the next power of two
TEXT_ENCODER_PINNED = 14.0
RESERVE = 1.5  # CUDA context, workspaces, fragmentation
GROUP = 2 * EXPERT / 40  # two blocks of 40: the one that runs and the one that is on its way
FP8_FROM_SM = 89  # Ada; Hopper is 90, Blackwell 100 and 120
HIDDEN_WIDTH = 5120
HIDDEN_STATES = {"bf16": 11.2, "fp8": 24.4}
"""Peak of a forward in hidden states of the video (tokens × 5120 bf16), eager; fp8 makes fp32 copies of its inputs."""
CACHED_HIDDEN_STATES = 6
"""What FirstBlockCache keeps of an expert: three hidden states in each of two passes."""

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
    """An arrangement for a card with `free` GiB. fp8 experts go with an int8 text encoder.

    `pinned`: what passes through the card block by block lies in page-locked memory, which is faster and larger.
    `cached`: there is room for the step cache of a clip that wants one.
    """

    weights: Weights
    placement: Placement
    tiled: bool
    free: float = field(compare=False)
    pinned: bool = False
    cached: bool = True

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
        tiled, cache = ", tiled VAE" if self.tiled else "", "" if self.cached else ", no step cache"
        return f"{self.weights} experts, {where}{tiled}{cache}"

    @property
    def main_memory(self) -> "MainMemory":
        return main_memory(self.weights, self.placement, self.pinned)


@dataclass(frozen=True)
class MainMemory:
    """GiB taken while the weights are read, while loaded ones move, and afterwards."""

    loading: float
    moving: float
    steady: float

    def taken(self, loaded: bool) -> float:
        return self.moving if loaded else self.loading


@dataclass(frozen=True)
class Clip:
    """What a clip asks of memory: `frames` is 4k+1, `cached` whether a step cache runs.

    `loras`: whether each expert has a LoRA beside its weights. `split`: cards that share the tokens.
    """

    size: Size
    frames: int
    cached: bool = False
    loras: bool = False
    split: int = 1


def plan(card_bytes_free: int, sm: int, size: Size, frames: int, acceleration: Acceleration, fp8: bool = True) -> Plan:
    """Return the fastest arrangement that fits compute capability `sm` (H200: 90), else the smallest.

    `fp8`: whether weights may be quantized at all; `none` never does.
    """
    clip = Clip(size, frames, cached=acceleration == "regular")
    return plans(card_bytes_free, clip, weights_for(sm, fp8 and acceleration == "regular"))[0]


def weights_for(sm: int, fp8: bool) -> tuple[Weights, ...]:
    return ("bf16", "fp8") if fp8 and sm >= FP8_FROM_SM else ("bf16",)


def plans(
    card_bytes_free: int,
    clip: Clip,
    weights: Sequence[Weights],
    main_bytes_free: float = math.inf,
    loaded: bool = False,
) -> list[Plan]:
    """Arrangements that fit, fastest first; if none fits the card, the smallest; none if main memory is too small.

    `loaded`: the weights are there already, and only move.
    """
    free = card_bytes_free / GIB
    candidates = [
        Plan(kind, placement, tiled, free, pinned, cached)
        for cached in ((True, False) if clip.cached else (True,))
        for kind, placement in FASTEST_FIRST
        if kind in weights
        for pinned in ((True, False) if (kind, placement) == ("bf16", "group_offload") else (False,))
        for tiled in (False, True)
    ]
    possible = [each for each in candidates if each.main_memory.taken(loaded) * GIB <= main_bytes_free]
    fitting = [each for each in possible if peak_of(each, clip) <= free]
    return fitting or [each for each in possible if each.placement == "group_offload"][-1:]


def peak_of(wanted: Plan, clip: Clip) -> float:
    """Peak card memory of `clip` in GiB."""
    cached = clip.cached and wanted.cached
    return peak(wanted.weights, wanted.placement, wanted.tiled, replace(clip, cached=cached))


def peak(weights: Weights, placement: Placement, tiled: bool, clip: Clip) -> float:
    """Peak card memory of a clip in GiB. Loading stays below: each part arrives layer by layer, as it will lie."""
    expert, text_encoder = _weights(weights)
    expert += LORA if clip.loras else 0
    transformer, vae = transformer_activations(clip, weights), vae_activations(clip.size, clip.frames, tiled)
    if placement == "resident":
        return 2 * expert + text_encoder + VAE + max(transformer, vae) + RESERVE
    if placement == "model_offload":
        return max(expert + transformer, text_encoder, VAE + vae) + RESERVE
    return max(GROUP + transformer, text_encoder, VAE + vae) + RESERVE


def main_memory(weights: Weights, placement: Placement, pinned: bool = False) -> MainMemory:
    """Main memory of A14B's weights: experts are read one after the other, and quantized before the next."""
    expert, text_encoder = _weights(weights)
    offloaded = 2 * expert + text_encoder + VAE
    if placement == "resident":
        return MainMemory(EXPERT, 0.0, 0.0)
    if pinned:
        steady = 2 * EXPERT_PINNED + TEXT_ENCODER_PINNED + VAE
        return MainMemory(steady + EXPERT, steady + EXPERT, steady)  # an expert is released once all of it is pinned
    return MainMemory(text_encoder + expert + EXPERT + VAE, offloaded, offloaded)


def transformer_activations(clip: Clip, weights: Weights) -> float:
    """GiB of an eager forward and the step cache of one expert: 3.5, 8.1, 11.9 at 480p, 720p, 720p with 121 frames."""
    hidden_state = 2 * HIDDEN_WIDTH * tokens(clip.size, clip.frames) / clip.split / GIB
    return hidden_state * (HIDDEN_STATES[weights] + (CACHED_HIDDEN_STATES if clip.cached else 0))


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
    """Move the parts of `pipe`; weights stay as loaded, bf16 or fp8.

    torchao's tensors cannot be pinned, so fp8 experts pass through the card without a stream.
    """
    pipe.remove_all_hooks()
    _ungroup(pipe)
    if wanted.placement == "resident":
        pipe.to(device)
    elif wanted.placement == "model_offload":
        pipe.enable_model_cpu_offload(device=device)
    else:
        streams = device.type == "cuda" and wanted.weights == "bf16"
        pipe.enable_group_offload(
            onload_device=device,
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=streams,
            low_cpu_mem_usage=streams and not wanted.pinned,
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


def says_out_of_memory(error: Exception) -> bool:
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(error)  # the latter on a CPU
