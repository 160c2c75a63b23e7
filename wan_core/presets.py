"""The presets of `presets/*.yaml`, on top of fal's defaults. Checked when loaded."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.profiles import EngineProfile, Machine, profiles, why_not
from wan_core.settings import Settings

FOLDER = Path(__file__).parents[1] / "presets"
PLAIN = "fal_defaults"
"""Changes nothing; links start from it."""
OF_THE_PERSON = (*IMAGE_TO_VIDEO.picture_fields, "seed")


class Preset(BaseModel):
    """`name`: the file's stem. `engine`: `None` for the machine's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: Annotated[str, Field(min_length=1, max_length=40)]
    description: Annotated[str, Field(min_length=1, max_length=300)]
    values: dict[str, Any]
    engine: str | None = None
    picture_detail: bool = True

    @field_validator("values")
    @classmethod
    def _values_fit(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in values:
            if name not in IMAGE_TO_VIDEO.fields or name in OF_THE_PERSON:
                raise ValueError(f"{name} is no field that a preset may set")
        try:
            request = IMAGE_TO_VIDEO.parse({"image_url": "any", "prompt": "any"} | values)
        except InputError as error:
            raise ValueError(error.message) from None
        return {name: getattr(request, name) for name in values}

    @field_validator("engine")
    @classmethod
    def _engine_exists(cls, engine: str | None) -> str | None:
        if engine is not None and engine not in profiles():
            raise ValueError(f"engine must be one of {', '.join(profiles())}")
        return engine

    @property
    def complete(self) -> dict[str, Any]:
        """With fal's defaults."""
        settled = {name: value for name, value in IMAGE_TO_VIDEO.defaults.items() if name not in OF_THE_PERSON}
        return settled | self.values

    def profile(self, machine_default: EngineProfile) -> EngineProfile:
        return profiles()[self.engine] if self.engine else machine_default

    def why_not(self, machine_default: EngineProfile, machine: Machine) -> str | None:
        """A sentence, if it cannot run on `machine`."""
        return why_not(self.profile(machine_default), machine)


@cache
def presets(folder: Path = FOLDER) -> dict[str, Preset]:
    """fal's defaults first, then by title.

    Raises:
        SystemExit: a file is invalid.
    """
    found = [_read(path) for path in folder.glob("*.yaml")]
    return {preset.name: preset for preset in sorted(found, key=lambda preset: (preset.name != PLAIN, preset.title))}


def opening(settings: Settings, machine_default: EngineProfile, machine: Machine) -> Preset:
    """`WAN_PRESET`, else one that suits the machine.

    Raises:
        SystemExit: `WAN_PRESET` names no preset.
    """
    known = presets()
    if settings.preset and settings.preset not in known:
        raise SystemExit(f"WAN_PRESET must be one of {', '.join(known)}; it is {settings.preset!r}.")
    if settings.preset:
        return known[settings.preset]
    if machine.zero_gpu:
        return known["turbo"]
    return known[machine_default.opening_preset]


def _read(path: Path) -> Preset:
    try:
        return Preset.model_validate({"name": path.stem} | yaml.safe_load(path.read_text("utf-8")))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
        raise SystemExit(f"{path.name} is no preset: {'; '.join(faults)}") from None
    except (TypeError, yaml.YAMLError):
        raise SystemExit(f"{path.name} is no preset: it must be a YAML mapping.") from None
