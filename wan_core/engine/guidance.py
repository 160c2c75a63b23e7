"""Tells the pipeline which steps are guided.

diffusers 0.42 reads classifier-free guidance off the first scale alone: `guidance_scale <= 1` silences both experts
even when `guidance_scale_2` asks for guidance, and the reverse pays for passes that change nothing. Here each expert
keeps its own scale, by one private attribute of the pipeline: the reason why requirements.txt pins diffusers' minor
version.
"""

from typing import Any

from wan_core.schedule import StepSchedule


def set_guided(pipe: Any, schedule: StepSchedule, next_step: int) -> None:
    """Tells `pipe` whether `next_step` is guided; to be called at the end of the step before it.

    The scales themselves are arguments of the call; the attribute only opens or closes the gate
    (`do_classifier_free_guidance`), so any value above 1 opens it.
    """
    if next_step < schedule.steps:
        pipe._guidance_scale = 2.0 if schedule.guided[next_step] else 1.0
