"""Which steps run on which expert, and which of them are guided.

diffusers 0.42 reads classifier-free guidance off the first scale alone: `guidance_scale <= 1` silences both experts
even when `guidance_scale_2` asks for guidance, and the reverse pays for passes that change nothing. Here each expert
keeps its own scale: the pipeline is told before every step whether that step is guided. Pure arithmetic plus one
private attribute of the pipeline, the reason why requirements.txt pins diffusers' minor version.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class StepSchedule:
    """What happens at each step: `high_noise` says which expert runs, `guided` whether it runs a second time."""

    high_noise: tuple[bool, ...]
    guided: tuple[bool, ...]

    @property
    def steps(self) -> int:
        return len(self.guided)

    @property
    def high_noise_steps(self) -> int:
        return sum(self.high_noise)

    @property
    def low_noise_steps(self) -> int:
        return self.steps - self.high_noise_steps

    @property
    def forwards(self) -> int:
        return self.steps + sum(self.guided)

    def forwards_after(self, done: int, high_noise_cost: float = 1.0) -> float:
        """Expert forwards that are still to come when `done` steps are finished; one of the high-noise expert counts
        `high_noise_cost` of the low-noise one's.
        """
        steps = zip(self.high_noise[done:], self.guided[done:], strict=True)
        return sum((1 + guided) * (high_noise_cost if high else 1.0) for high, guided in steps)


def schedule(
    timesteps: Sequence[float], boundary: float, high_noise_scale: float, low_noise_scale: float
) -> StepSchedule:
    """The course of a request: timesteps at or above `boundary` are the high-noise expert's (Wan 2.2: 900 of 1000)."""
    high = tuple(timestep >= boundary for timestep in timesteps)
    return StepSchedule(high, tuple((high_noise_scale if is_high else low_noise_scale) > 1 for is_high in high))


def truncated(schedule: StepSchedule, fraction: float) -> StepSchedule:
    """The same course without guidance in the last `fraction` (0…1) of the steps."""
    kept = schedule.steps - round(schedule.steps * fraction)
    return replace(schedule, guided=tuple(guided and step < kept for step, guided in enumerate(schedule.guided)))


def set_guided(pipe: Any, schedule: StepSchedule, next_step: int) -> None:
    """Tells `pipe` whether `next_step` is guided; to be called at the end of the step before it.

    The scales themselves are arguments of the call; the attribute only opens or closes the gate
    (`do_classifier_free_guidance`), so any value above 1 opens it.
    """
    if next_step < schedule.steps:
        pipe._guidance_scale = 2.0 if schedule.guided[next_step] else 1.0
