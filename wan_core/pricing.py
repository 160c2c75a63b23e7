"""What a clip costs beside time: dollars on fal, seconds of a visitor's quota on ZeroGPU. Pure arithmetic."""

import math
from typing import Literal

from wan_core.profiles import EngineProfile, Machine
from wan_core.schema import ImageToVideoInput, Resolution

DOLLARS_PER_VIDEO_SECOND: dict[Resolution, float] = {"480p": 0.04, "580p": 0.06, "720p": 0.08}
FAL_FRAMES_PER_VIDEO_SECOND = 16  # fal bills num_frames / 16, whatever frames_per_second says

WEIGHTS_S = 15  # ZeroGPU streams the weights into a fresh worker
DURATION_MARGIN = 1.2
HALF_CARD_BYTES = 45_097_156_608  # larger weights get a whole card (spaces 0.51.3, `xlarge_threshold`)

LentCard = Literal["half", "whole"]
QUOTA_FACTOR: dict[LentCard, float] = {"half": 1.5, "whole": 2.0}
"""Seconds of quota for a declared second. Half a card counts once but is lent for 1.5 × the time, a whole one counts
twice (spaces 0.51.3, client.py; docs/hub/spaces-zerogpu.md)."""


def dollars_on_fal(request: ImageToVideoInput) -> float:
    """fal's price: video seconds at 16 frames a second × the resolution's rate."""
    return request.num_frames / FAL_FRAMES_PER_VIDEO_SECOND * DOLLARS_PER_VIDEO_SECOND[request.resolution]


def zero_gpu_seconds(on_the_card_s: float) -> int:
    """The duration to declare: what a whole card needs, weights and a margin included."""
    return math.ceil((on_the_card_s + WEIGHTS_S) * DURATION_MARGIN)


def lent_card(profile: EngineProfile, machine: Machine) -> LentCard:
    """What ZeroGPU lends for `profile`: it decides by the size of the weights that were packed.

    Assumed: the engine was loaded as `engine.loading.first_plan` prefers. With `machine.fp8` that is fp8 (A14B then
    takes 34 GiB, which is half a card), else bf16.
    """
    return "whole" if profile.weights_bytes > HALF_CARD_BYTES and not machine.fp8 else "half"


def quota_seconds(declared_s: float, card: LentCard) -> float:
    """The quota a visitor must have left for a clip. ZeroGPU compares what is declared, not what is used in the end."""
    return declared_s * QUOTA_FACTOR[card]
