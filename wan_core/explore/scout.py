"""Scout: the same request with as few frames and pixels as the endpoint allows."""

from collections.abc import Collection, Mapping
from typing import Any

from wan_core.endpoints import IMAGE_TO_VIDEO

FEWEST_FRAMES = 17
SCOUT: Mapping[str, Any] = {
    "num_frames": FEWEST_FRAMES,
    "resolution": "480p",
    "interpolator_model": "none",
    "video_write_mode": "fast",
}


def scout_changes(values: Mapping[str, Any], on_axes: Collection[str]) -> dict[str, Any]:
    """Fields on an axis stay as they are."""
    return {name: cheap for name, cheap in SCOUT.items() if name not in on_axes and values.get(name) != cheap}


def sentence(changes: Mapping[str, Any]) -> str:
    """For the visitor; empty if nothing was changed."""
    if not changes:
        return ""
    named = ", ".join(f"{IMAGE_TO_VIDEO.fields[name].title}: {value}" for name, value in changes.items())
    return f"Scout makes each clip with {named}. It shows which way a knob works, not the same pixels."
