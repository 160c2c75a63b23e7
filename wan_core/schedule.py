"""Which expert runs at each step and which steps are guided. No torch here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wan_core.schema import ImageToVideoInput

BOUNDARY = 900  # timesteps from here up are the high-noise expert's
UNGUIDED_END = 0.25
"""`regular` skips the unguided pass in this last part: 12-18 % faster, near-lossless."""
CACHE_FROM_STEPS = 16
"""`regular` reuses residuals from here up: with fewer steps, neighbours differ too much."""
LIGHTNING_STEPS = 4
"""What the Lightning LoRAs were trained for; with shift 5 the low-noise expert has two of them."""


@dataclass(frozen=True)
class StepSchedule:
    """Per step: whether the high-noise expert runs, and whether it runs twice."""

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

    @property
    def high_noise_forwards(self) -> int:
        return sum(1 + guided for guided in self.guided_of(high_noise=True))

    @property
    def low_noise_forwards(self) -> int:
        return self.forwards - self.high_noise_forwards

    def guided_of(self, *, high_noise: bool, done: int = 0) -> tuple[bool, ...]:
        """Of one expert's steps after the first `done` of all."""
        steps = zip(self.high_noise[done:], self.guided[done:], strict=True)
        return tuple(guided for high, guided in steps if high is high_noise)

    def forwards_after(self, done: int, high_noise_cost: float = 1.0) -> float:
        """A high-noise forward counts `high_noise_cost`."""
        steps = zip(self.high_noise[done:], self.guided[done:], strict=True)
        return sum((1 + guided) * (high_noise_cost if high else 1.0) for high, guided in steps)


def schedule(
    timesteps: Sequence[float], boundary: float, high_noise_scale: float, low_noise_scale: float
) -> StepSchedule:
    """High noise is from `boundary` up (Wan 2.2: 900 of 1000)."""
    high = tuple(timestep >= boundary for timestep in timesteps)
    return StepSchedule(high, tuple((high_noise_scale if is_high else low_noise_scale) > 1 for is_high in high))


def truncated(schedule: StepSchedule, fraction: float) -> StepSchedule:
    """Drop guidance in the last `fraction` (0…1) of the steps, but never in a high-noise one.

    Those come so late only where few low-noise ones follow (`with_lightning_end`).
    """
    kept = schedule.steps - round(schedule.steps * fraction)
    steps = enumerate(zip(schedule.high_noise, schedule.guided, strict=True))
    return replace(schedule, guided=tuple(guided and (high or step < kept) for step, (high, guided) in steps))


def with_lightning_end(asked: Sequence[float], lightning: Sequence[float], boundary: float) -> tuple[int, int]:
    """How many first steps of `asked` and last ones of `lightning` to take; both fall to 0.

    High-noise steps stay as asked; the low-noise ones are Lightning's, unless as few were asked for.
    """
    high = sum(timestep >= boundary for timestep in asked)
    few = sum(timestep < boundary for timestep in lightning)
    return (high, few) if few < len(asked) - high else (len(asked), 0)


def timesteps(steps: int, shift: float) -> list[int]:
    """UniPC with flow sigmas: shift·σ / (1 + (shift-1)·σ), σ falling evenly from 1 to 0.001."""
    sigmas = [min(1 - 0.999 * step / steps, 0.999999) for step in range(steps)]
    return [int(1000 * shift * sigma / (1 + (shift - 1) * sigma)) for sigma in sigmas]


def schedule_of(request: ImageToVideoInput, *, lightning_end: bool = False) -> StepSchedule:
    """`lightning_end`: as in `EngineProfile`."""
    steps = timesteps(request.num_inference_steps, request.shift)
    if lightning_end:
        lightning = timesteps(LIGHTNING_STEPS, request.shift)
        first, last = with_lightning_end(steps, lightning, BOUNDARY)
        steps = steps[:first] + lightning[len(lightning) - last :]
    course = schedule(steps, BOUNDARY, request.guidance_scale, request.guidance_scale_2)
    return course if request.acceleration == "none" else truncated(course, UNGUIDED_END)
