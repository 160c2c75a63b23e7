"""Step caches: what a forward's later blocks add changes little from step to step, so some steps reuse it.

Two, behind one interface: diffusers' FirstBlockCache (the default), and cache-dit's DBCache, an optional package with
limits of its own for Wan 2.2's experts. Each keeps the two passes of a guided step apart and never skips more than two
steps in a row.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from diffusers import FirstBlockCacheConfig

from wan_core import logs
from wan_core.events import Event, Log
from wan_core.schedule import StepSchedule
from wan_core.settings import StepCacheName

CACHE_LASTS = 3  # steps: one is computed, at most two reuse it
CACHE_DIT_ABSENT = (
    "WAN_STEP_CACHE asks for cache-dit, which is not installed: pip install 'cache-dit>=1.5,<1.6'. The first-block "
    "cache runs instead."
)


class StepCache(Protocol):
    """`put_on` before a clip, `after_step` after each of its steps; `take_off` removes whichever is on."""

    def put_on(self, expert: Any, *, high_noise: bool, guided: Sequence[bool]) -> None:
        """`guided`: of the expert's steps in this clip."""

    def after_step(self, pipe: Any, schedule: StepSchedule, step: int) -> None: ...

    @property
    def words(self) -> str: ...


@dataclass(frozen=True)
class FirstBlockCache:
    """`thresholds`: limits for the change of the first block's residual, high-noise and low-noise expert."""

    thresholds: tuple[float, float]

    @property
    def words(self) -> str:
        return f"step cache ({self.thresholds[0]:g} and {self.thresholds[1]:g})"

    def put_on(self, expert: Any, *, high_noise: bool, guided: Sequence[bool]) -> None:
        expert.enable_cache(FirstBlockCacheConfig(threshold=self.thresholds[0 if high_noise else 1]))

    def after_step(self, pipe: Any, schedule: StepSchedule, step: int) -> None:
        """Reset every `CACHE_LASTS` steps; the high-noise expert's ends with its last step.

        It would keep 4.3 GiB for 81 frames at 720p.
        """
        if step + 1 == schedule.high_noise_steps:
            pipe.transformer._reset_stateful_cache()
        if (step + 1) % CACHE_LASTS == 0:
            for expert in (pipe.transformer, pipe.transformer_2):
                expert._reset_stateful_cache()


@dataclass(frozen=True)
class CacheDit:
    """DBCache with cache-dit's own limits for Wan 2.2 (its examples): the high-noise expert, which decides motion and
    layout, warms up longer and skips less.

    It tells the passes of a guided step by counting, so it starts anew where guidance ends.
    """

    threshold: float = 0.08
    first_blocks: int = 8
    warm_up: tuple[int, int] = (4, 2)
    most_skipped: tuple[int, int] = (8, 20)

    @property
    def words(self) -> str:
        return f"step cache by cache-dit ({self.threshold:g})"

    def put_on(self, expert: Any, *, high_noise: bool, guided: Sequence[bool]) -> None:
        if guided:
            _cache_dit().enable_cache(expert, cache_config=self._config(expert, high_noise, guided))

    def after_step(self, pipe: Any, schedule: StepSchedule, step: int) -> None:
        if step + 1 == schedule.high_noise_steps:
            take_off(pipe.transformer)
        following = step + 1
        if following == schedule.steps or schedule.high_noise[following] != schedule.high_noise[step]:
            return
        if schedule.guided[following] != schedule.guided[step]:
            self._start_anew(pipe, schedule, following)

    def _start_anew(self, pipe: Any, schedule: StepSchedule, step: int) -> None:
        high_noise = schedule.high_noise[step]
        expert = pipe.transformer if high_noise else pipe.transformer_2
        guided = schedule.guided_of(high_noise=high_noise, done=step)
        _cache_dit().refresh_context(expert, cache_config=self._config(expert, high_noise, guided, warm_up=1))

    def _config(self, expert: Any, high_noise: bool, guided: Sequence[bool], warm_up: int | None = None) -> Any:
        which = 0 if high_noise else 1
        return _cache_dit().DBCacheConfig(
            Fn_compute_blocks=min(self.first_blocks, len(expert.blocks) - 1),
            Bn_compute_blocks=0,
            residual_diff_threshold=self.threshold,
            max_warmup_steps=self.warm_up[which] if warm_up is None else warm_up,
            max_cached_steps=self.most_skipped[which],
            max_continuous_cached_steps=CACHE_LASTS - 1,
            num_inference_steps=len(guided),
            enable_separate_cfg=guided[0],
        )


def take_off(expert: Any) -> None:
    if expert.is_cache_enabled:
        expert.disable_cache()
    if getattr(expert, "_context_manager", None) is not None:  # cache-dit's
        _cache_dit().disable_cache(expert)


def _cache_dit() -> Any:
    """The package, which else tells of each clip how it is put on and, as a warning, taken off."""
    import cache_dit

    logs.adopt("CACHE_DIT", logging.ERROR)  # all its loggers share the handler of this one
    return cache_dit


def has_cache_dit() -> bool:
    return find_spec("cache_dit") is not None


def available(name: StepCacheName, report: Callable[[Event], None]) -> StepCacheName:
    """`name`, or the default where it is not installed."""
    if name == "cache-dit" and not has_cache_dit():
        report(Log(CACHE_DIT_ABSENT, "WARN"))
        return "first-block"
    return name
