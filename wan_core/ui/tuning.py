"""The sampler's settings that belong to an engine, and what becomes of them when another one will run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wan_core.events import Where
from wan_core.presets import Preset, presets
from wan_core.profiles import FULL_MODEL, EngineProfile, pool_of, profiles
from wan_core.ui.names import title_of

TUNED = ("num_inference_steps", "guidance_scale", "guidance_scale_2", "shift")


@dataclass(frozen=True)
class Tuned:
    """What the form was set for: the engine that will run, and the preset it started from."""

    engine: str
    preset: str | None = None


@dataclass(frozen=True)
class Change:
    """A field with its value before and after."""

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{title_of(self.field)}: {self.before:g} → {self.after:g}"


def running_engine(engine: str, where: Where) -> EngineProfile:
    """The engine that will run a job: fal has the full model alone."""
    return profiles()[FULL_MODEL if pool_of(where, engine) == "fal" else engine]


def tuned_values(engine: EngineProfile, preset: Preset | None = None) -> dict[str, Any]:
    """The sampler's settings for `engine`: the preset's if it is meant for that engine, else its opening preset's."""
    suits = preset is not None and (
        preset.engine == engine.name or (preset.engine is None and engine.name == FULL_MODEL)
    )
    chosen = preset if preset is not None and suits else presets()[engine.opening_preset]
    return {name: chosen.complete[name] for name in TUNED}


def retuned(before: Tuned, after: EngineProfile, values: Mapping[str, Any]) -> list[Change]:
    """The changes that suit `after`; what the visitor has set by hand stays."""
    preset = presets().get(before.preset or "")
    was, will = tuned_values(profiles()[before.engine], preset), tuned_values(after, preset)
    as_set = preset.complete if preset else was
    return [
        Change(name, values[name], will[name])
        for name in TUNED
        if values[name] in (was[name], as_set[name]) and values[name] != will[name]
    ]


def kept_by_hand(after: EngineProfile, changes: list[Change], before: Tuned, values: Mapping[str, Any]) -> list[str]:
    """The titles of the settings that differ from what suits `after` because the visitor has set them."""
    will = tuned_values(after, presets().get(before.preset or ""))
    changed = {change.field for change in changes}
    own = [name for name in TUNED if name not in changed and values[name] != will[name]]
    return [title_of(name) for name in own]


def changed_fields(preset: Preset, values: Mapping[str, Any]) -> list[str]:
    """The titles of the fields that differ from the preset's."""
    return [title_of(name) for name, value in preset.complete.items() if name in values and values[name] != value]
