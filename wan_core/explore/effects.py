"""Which settings change nothing for a request: a scale acts only at a guided step of its expert, a negative prompt only
at a guided step.
"""

from typing import Any

from wan_core.schedule import schedule_of
from wan_core.schema import ImageToVideoInput
from wan_core.timing import frames_between

FINISHING_FIELDS = (
    "frames_per_second",
    "interpolator_model",
    "num_interpolated_frames",
    "adjust_fps_for_interpolation",
    "video_quality",
    "video_write_mode",
)
"""To change only these, the frames are reused."""


def effective(request: ImageToVideoInput) -> dict[str, Any]:
    """The fields, those without effect as `None`: equal for equal clips."""
    values = request.model_dump()
    course = schedule_of(request)
    idle: set[str] = set()
    if not any(course.guided_of(high_noise=True)):
        idle.add("guidance_scale")
    if not any(course.guided_of(high_noise=False)):
        idle.add("guidance_scale_2")
    if len(idle) == 2:
        idle.add("negative_prompt")
    if frames_between(request) == 0:
        values["interpolator_model"] = "none"
        idle |= {"num_interpolated_frames", "adjust_fps_for_interpolation"}
    return values | dict.fromkeys(idle)


def before_finishing(request: ImageToVideoInput) -> dict[str, Any]:
    return {name: value for name, value in effective(request).items() if name not in FINISHING_FIELDS}
