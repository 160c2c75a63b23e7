"""What an engine wants follows the engine; what a visitor has set by hand stays, and is told."""

from typing import Any

import pytest

from tests.ui.conftest import Desk
from wan_core.presets import presets
from wan_core.profiles import profiles
from wan_core.ui.tuning import TUNED, Tuned, changed_fields, kept_by_hand, retuned, tuned_values

MINIATURE = Tuned("miniature", "miniature")


def after_change(tuned: Tuned, to: str, **by_hand: Any) -> dict[str, Any]:
    """The sampler's settings after a change of engine, from those of the preset."""
    values = presets()[tuned.preset or "fal_defaults"].complete | by_hand
    return values | {change.field: change.after for change in retuned(tuned, profiles()[to], values)}


def sampler(values: dict[str, Any]) -> list[float]:
    return [values[name] for name in TUNED]


@pytest.mark.parametrize(
    ("tuned", "to", "expected"),
    [
        (MINIATURE, "a14b", [27, 3.5, 3.5, 5.0]),
        (Tuned("a14b", "fal_defaults"), "miniature", [8, 1.0, 1.0, 2.0]),
        (Tuned("a14b", "fal_defaults"), "a14b-turbo", [4, 1.0, 1.0, 5.0]),
        (Tuned("a14b-turbo", "turbo"), "a14b", [27, 3.5, 3.5, 5.0]),
        (Tuned("a14b", "draft"), "a14b-turbo", [4, 1.0, 1.0, 5.0]),
        (Tuned("a14b-turbo", "turbo"), "a14b-turbo-motion", [27, 3.5, 1.0, 5.0]),
        (Tuned("a14b-turbo-motion", "turbo_motion"), "a14b", [27, 3.5, 3.5, 5.0]),
        (Tuned("miniature", "draft"), "a14b", [8, 3.5, 3.5, 5.0]),
    ],
)
def test_another_engine_gets_its_own_sampler_settings(tuned: Tuned, to: str, expected: list[float]) -> None:
    assert sampler(after_change(tuned, to)) == expected


def test_what_was_set_by_hand_stays_and_is_named() -> None:
    values = presets()["miniature"].complete | {"num_inference_steps": 12}
    changes = retuned(MINIATURE, profiles()["a14b"], values)
    assert [change.field for change in changes] == ["guidance_scale", "guidance_scale_2", "shift"]
    assert len(kept_by_hand(profiles()["a14b"], changes, MINIATURE, values)) == 1


def test_size_length_and_prompt_are_no_business_of_the_engine() -> None:
    values = after_change(MINIATURE, "a14b")
    assert values["num_frames"] == presets()["miniature"].values["num_frames"] and values["resolution"] == "480p"


def test_every_engine_has_settings_of_its_own() -> None:
    assert tuned_values(profiles()["a14b-turbo"])["num_inference_steps"] == 4


def test_fields_that_differ_from_the_preset_are_named() -> None:
    draft = presets()["draft"]
    assert changed_fields(draft, draft.complete) == []
    assert len(changed_fields(draft, draft.complete | {"num_frames": 49})) == 1


def test_going_to_fal_changes_the_settings_says_so_and_can_be_undone(desk: Desk) -> None:
    given = presets()["miniature"].complete
    shown = desk.retuning.follow(MINIATURE, *desk.values(**given, where="fal"))
    parts = desk.retuning.parts
    assert shown[desk.left.form["num_inference_steps"]] == 27 and shown[desk.left.form["guidance_scale"]] == 3.5
    assert "8 → 27" in shown[parts.note] and "Undo" in shown[parts.note] and "on fal" in shown[parts.note]
    assert "runs on fal" in shown[parts.header] and 'data-chip="Crane up"' in shown[parts.chips]
    assert shown[parts.tuned] == Tuned("a14b", "miniature")
    undone = desk.retuning.take_back(shown[parts.undo])
    assert undone[desk.left.form["num_inference_steps"]] == 8 and undone[parts.note] == ""


def test_the_same_engine_at_another_place_changes_nothing(desk: Desk) -> None:
    shown = desk.retuning.follow(Tuned("a14b", "fal_defaults"), *desk.values(engine="miniature", where="fal"))
    assert set(shown) == {desk.retuning.parts.header, desk.retuning.parts.chips}
