"""What fills the form: presets, examples, clips, addresses, chips."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
import pytest

from tests.support.jobs import MOST_FRAMES, a_job
from tests.test_recipe import OTHER
from tests.ui.conftest import Desk
from wan_core import recipe, schema, ui
from wan_core.events import JobOptions
from wan_core.geometry import Size
from wan_core.presets import presets
from wan_core.profiles import draws_small, profiles
from wan_core.ui.examples import EXAMPLES
from wan_core.ui.links import link_query
from wan_core.ui.picture_check import SeenPicture, picture_key
from wan_core.ui.tuning import Tuned
from wan_core.ui.visit import Visit

OPENED = Tuned("miniature", "miniature")


def event(**data: str) -> Any:
    return SimpleNamespace(**data)


def filled(desk: Desk, shown: dict[Any, Any]) -> dict[str, Any]:
    """What an event wrote into the form, by name."""
    names = {id(desk.left.form[name]): name for name in desk.left.form.names}
    return {names[id(part)]: value for part, value in shown.items() if id(part) in names}


def a_clip(desk: Desk, caller: gr.Request, **changed: Any) -> Visit:
    plain = asyncio.run(desk.run_events.submit(caller, "", {}, "", *desk.values(**changed)))[desk.screen.visit]

    async def to_its_end() -> Any:
        async for shown in desk.run_events.watch(plain):
            last = shown
        return last

    return Visit.of(asyncio.run(to_its_end())[desk.screen.visit])


@pytest.mark.parametrize("name", ["fal_defaults", "draft", "portrait", "smooth", "smallest", "miniature"])
def test_a_preset_sets_all_it_decides_and_leaves_picture_prompt_and_seed(desk: Desk, name: str) -> None:
    values = filled(desk, desk.form_events.preset(event(preset=name), OPENED, *desk.values()))
    where = {"where": "local"} if name == "miniature" else {}
    assert values == {**presets()[name].complete, "engine": "miniature", "picture_detail": True, **where}
    assert not {"picture", "image_url", "prompt", "seed"} & set(values)


def test_a_disabled_preset_changes_nothing(desk: Desk) -> None:
    assert filled(desk, desk.form_events.preset(event(preset="turbo"), OPENED, *desk.values())) == {}


@pytest.mark.parametrize("number", range(4))
def test_an_example_sets_picture_prompt_and_preset(desk: Desk, number: int) -> None:
    values, example = filled(desk, desk.form_events.example(event(example=str(number)), "local")), EXAMPLES[number]
    assert values["prompt"] == example.prompt and values["num_inference_steps"] == 8
    if example.path:
        assert values["picture"].startswith(str(ui.uploads_folder())) and values["image_url"] == ""
    else:
        assert values["picture"] is None and values["image_url"] == schema.EXAMPLE_IMAGE_URL


def test_a_clip_of_the_history_brings_all_its_settings_back(desk: Desk, caller: gr.Request) -> None:
    own = {name: value for name, value in OTHER.items() if name not in ("image_url", "seed")}
    visit = a_clip(desk, caller, **own, seed="12")
    assert visit.clip
    values = filled(desk, desk.form_events.clip(visit.plain, event(clip=visit.clip)))
    record = desk.house.jobs.get(visit.clip)
    assert record and {name: values[name] for name in own} == own
    assert values["seed"] == "12" and values["picture"].endswith(f"{record.job.picture}.png")


def test_a_saved_clip_brings_its_settings_back_and_leaves_what_it_does_not_say(desk: Desk) -> None:
    job = a_job(num_frames=49, shift=6.5, image_url="https://example.com/a.png")
    options = JobOptions("miniature", "fal", prompt_in_file=False)
    private = replace(job, options=options, inputs=job.inputs.model_copy(update={"image_url": ""}))
    comments = [recipe.to_comment(recipe.from_job(each), each.id) for each in (job, private)]
    values, less = [
        filled(desk, desk.form_events.restore_settings(event(settings=comment), "local")) for comment in comments
    ]
    assert (values["num_frames"], values["shift"], values["prompt"], values["seed"]) == (49, 6.5, "a walk", "1")
    assert (values["image_url"], values["picture"], values["engine"]) == (
        "https://example.com/a.png",
        None,
        "miniature",
    )
    assert less["num_frames"] == 49 and not {"prompt", "picture", "image_url", "where"} & set(less)


def test_a_file_without_our_settings_says_so(desk: Desk) -> None:
    for said in ({}, {"settings": "Lavf60"}):
        with pytest.raises(gr.Error, match="carries no settings of this app"):
            desk.form_events.restore_settings(event(**said), "local")


def test_a_reload_brings_the_form_back_as_it_was_sent(desk: Desk, caller: gr.Request) -> None:
    visit = a_clip(desk, caller, shift=6.5)
    assert filled(desk, desk.form_events.address(caller, visit.plain, ""))["shift"] == 6.5


def test_an_address_fills_the_form_and_counts_more_than_the_last_clip(desk: Desk, caller: gr.Request) -> None:
    visit = a_clip(desk, caller, shift=6.5)
    caller.request.query_params = {"preset": "draft", "num_frames": "999", "prompt": "hello", "engine": "a14b"}
    values = filled(desk, desk.form_events.address(caller, visit.plain, ""))
    assert (values["num_frames"], values["prompt"], values["shift"]) == (MOST_FRAMES, "hello", 5)
    assert values["engine"] == "miniature", "the engine named cannot run here"


def test_the_models_own_pixels_come_back_from_clip_file_and_address(desk: Desk, caller: gr.Request) -> None:
    visit = a_clip(desk, caller, picture_detail=False)
    record = desk.house.jobs.get(visit.clip or "")
    assert record and record.job.options.picture_detail is False
    kept = recipe.from_job(record.job)
    caller.request.query_params = dict(parse_qsl(link_query(kept) or ""))
    for shown in (
        desk.form_events.clip(visit.plain, event(clip=visit.clip)),
        desk.form_events.restore_settings(event(settings=recipe.to_comment(kept, "any")), "local"),
        desk.form_events.address(caller, {}, ""),
    ):
        assert filled(desk, shown)["picture_detail"] is False
    assert (
        filled(desk, desk.form_events.preset(event(preset="draft"), OPENED, *desk.values()))["picture_detail"] is True
    )


def test_the_switch_for_detail_is_there_only_where_frames_are_drawn_small(desk: Desk) -> None:
    for engine, where, shown in (("miniature", "local", True), ("miniature", "fal", False)):
        assert desk.form_events.detail_switch(engine, where)["visible"] is shown  # type: ignore[arg-type]
    assert draws_small(profiles()["a14b"], "local") is False


def test_a_clip_that_is_gone_says_so(desk: Desk) -> None:
    with pytest.raises(gr.Error, match="no longer kept"):
        desk.form_events.clip({}, event(clip="8b0f1b5e-0000-4000-8000-000000000000"))


def test_a_preset_names_what_it_replaced_of_the_visitors_own_and_undo_brings_it_back(desk: Desk) -> None:
    parts, own = desk.retuning.parts, presets()["miniature"].complete | {"num_inference_steps": 12}
    shown = desk.form_events.preset(event(preset="draft"), OPENED, *desk.values(**own))
    assert "(12)" in shown[parts.note] and "Undo" in shown[parts.note]
    undone = desk.retuning.take_back(shown[parts.undo])
    assert undone[desk.left.form["num_inference_steps"]] == 12 and undone[parts.tuned] == OPENED
    untouched = desk.form_events.preset(event(preset="draft"), OPENED, *desk.values(**presets()["miniature"].complete))
    assert untouched[parts.note] == ""


def test_a_chip_adds_to_the_prompt(desk: Desk) -> None:
    assert desk.form_events.chip("A cat", event(chip="Pan left")) == "A cat. The camera pans left."
    assert desk.form_events.chip("A cat", event(chip="?")) == "A cat"


def test_the_summary_follows_the_form(desk: Desk) -> None:
    shown = desk.summary.refresh(
        SeenPicture(picture_key(desk.picture()), Size(1600, 900)), OPENED, *desk.values(num_frames=49, prompt="a walk")
    )
    assert "1280×720" in shown[desk.summary.parts.outcome]
    assert "num_frames=49" in shown[desk.summary.parts.link] and '"num_frames": 49' in shown[desk.summary.parts.python]
    assert shown[desk.summary.parts.link].startswith("preset=fal_defaults&")
    assert shown[desk.summary.parts.file] == ""


def test_an_empty_prompt_is_not_in_the_link(desk: Desk) -> None:
    assert "prompt" not in desk.summary.refresh(None, OPENED, *desk.values(prompt=""))[desk.summary.parts.link]


def test_settings_that_fit_no_link_are_offered_as_a_file(desk: Desk) -> None:
    prompt = "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(4_000))
    shown = desk.summary.refresh(None, OPENED, *desk.values(prompt=prompt, num_frames=49))
    assert shown[desk.summary.parts.link] == ""
    restored = filled(desk, desk.form_events.restore_settings(event(settings=shown[desk.summary.parts.file]), "local"))
    assert (restored["prompt"], restored["num_frames"]) == (prompt, 49)


def test_a_fault_is_told_as_it_is_typed(desk: Desk) -> None:
    shown = desk.summary.refresh(None, OPENED, *desk.values(seed="soon"))
    assert "seed must be a whole number" in shown[desk.summary.parts.faults]
    assert desk.summary.parts.outcome not in shown, "the last estimate stays"


def test_a_clip_without_an_end_picture_takes_the_forms_away(desk: Desk, caller: gr.Request) -> None:
    visit, ending = a_clip(desk, caller), a_clip(desk, caller, end_image_url="https://example.com/end.png")
    values = [filled(desk, desk.form_events.clip(each.plain, event(clip=each.clip or ""))) for each in (visit, ending)]
    assert (values[0]["end_picture"], values[0]["end_image_url"]) == (None, "")
    assert values[1]["end_picture"].endswith(".png") and values[1]["end_image_url"] == "https://example.com/end.png"


def test_the_page_says_where_an_end_picture_is_ignored(desk: Desk) -> None:
    assert desk.form_events.end_ignored("miniature", "local")["visible"]
    assert not desk.form_events.end_ignored("miniature", "fal")["visible"]
