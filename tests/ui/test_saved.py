import json
from types import SimpleNamespace
from typing import Any

from wan_core import recipe
from wan_core.ui import saved


def test_values_outside_the_limits_are_named_with_what_became_of_them() -> None:
    request = {"num_frames": 999, "shift": 5, "resolution": "8k", "prompt": "pan", "seed": None}
    settings = json.dumps({"app": recipe.APP, "version": recipe.VERSION, "request": request})
    event: Any = SimpleNamespace(settings=settings)
    kept = saved.recipe_in(event)
    said = saved.changes(event, kept)
    assert f"Number of frames 999 became {kept.values['num_frames']}" in said
    assert "Resolution 8k is left out" in said
    assert not any(word in said for word in ("Shift", "Prompt", "Seed"))


def test_a_file_with_axes_alone_is_known_by_them() -> None:
    assert saved.has_axes_alone(SimpleNamespace(settings="", explore='{"axes":[]}'))
    assert not saved.has_axes_alone(SimpleNamespace(settings="{}", explore='{"axes":[]}'))
    assert not saved.has_axes_alone(SimpleNamespace(settings=""))
