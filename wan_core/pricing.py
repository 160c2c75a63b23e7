"""Dollars on fal and seconds of ZeroGPU quota."""

import math
from typing import Literal

from wan_core.endpoints import ENDPOINTS, IMAGE_TO_VIDEO, Endpoint
from wan_core.events import Job
from wan_core.profiles import EngineProfile
from wan_core.schema import ImageToVideoInput

FAL_FRAMES_PER_VIDEO_SECOND = 16  # billed as num_frames / 16, at any frames_per_second

WEIGHTS_S = 15  # to stream the weights into a fresh worker
DURATION_MARGIN = 1.2
HALF_CARD_BYTES = 45_097_156_608  # spaces 0.51.3, `xlarge_threshold`

LentCard = Literal["half", "whole"]
QUOTA_FACTOR: dict[LentCard, float] = {"half": 1.5, "whole": 2.0}
"""Quota seconds per declared second: half a card is lent for 1.5 × the time, a whole one counts twice (spaces 0.51.3,
client.py; docs/hub/spaces-zerogpu.md).
"""


def dollars_on_fal(inputs: ImageToVideoInput, endpoint: Endpoint = IMAGE_TO_VIDEO) -> float:
    videos = 1 if endpoint.dollars_per == "video" else inputs.num_frames / FAL_FRAMES_PER_VIDEO_SECOND
    return videos * endpoint.dollars[inputs.resolution]


def dollars_of_job(job: Job) -> float:
    return dollars_on_fal(job.inputs, ENDPOINTS[job.endpoint])


def zero_gpu_seconds(on_the_card_s: float) -> int:
    """The duration to declare for a whole card."""
    return math.ceil((on_the_card_s + WEIGHTS_S) * DURATION_MARGIN)


def lent_card(profile: EngineProfile) -> LentCard:
    """By the size of the packed weights, bf16 there (`engine.loading.first_plans`)."""
    return "whole" if profile.weights_bytes > HALF_CARD_BYTES else "half"


def quota_seconds(declared_s: float, card: LentCard) -> float:
    """ZeroGPU counts the declared time, not the used."""
    return declared_s * QUOTA_FACTOR[card]
