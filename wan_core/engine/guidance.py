"""Tell the pipeline which steps are guided.

diffusers 0.42 derives guidance from the first scale alone: `guidance_scale <= 1` silences both experts. This sets a
private attribute instead, so requirements.txt pins diffusers' minor version.
"""

from typing import Any

from wan_core.schedule import StepSchedule


def set_guided(pipe: Any, schedule: StepSchedule, next_step: int) -> None:
    """Set whether `next_step` is guided; call at the end of the step before.

    Any value above 1 opens `do_classifier_free_guidance`; the scales are arguments of the pipeline's call.
    """
    if next_step < schedule.steps:
        pipe._guidance_scale = 2.0 if schedule.guided[next_step] else 1.0
