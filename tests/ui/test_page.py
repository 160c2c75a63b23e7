"""The whole page: what it shows to the outside, and that it needs nothing from there."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.support.jobs import House, a_house
from tests.ui.conftest import CHOICE, MACHINE, loops_of_gradio
from wan_core import schema, ui
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.estimator import Estimator
from wan_core.files import FileStore
from wan_core.presets import presets
from wan_core.profiles import Choice, profiles
from wan_core.settings import Settings
from wan_core.ui.endpoint import image_to_video
from wan_core.ui.pictures import UploadedImage
from wan_core.ui.prompt_expansion import changes


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """Every test reads it, none changes it."""
    data = FileStore(tmp_path_factory.mktemp("data"))
    with pytest.MonkeyPatch.context() as patch, a_house(data) as house, loops_of_gradio() as made:
        patch.setenv("GRADIO_TEMP_DIR", str(data.root / "gradio"))
        patch.setenv("WAN_DATA_DIR", str(data.root))
        yield ui.build(house.jobs, Settings(), Estimator(MACHINE), CHOICE)
    for loop in made:
        loop.close()


def test_the_public_endpoints_are_the_clip_and_the_grid(page: gr.Blocks) -> None:
    public = [fn.api_name for fn in page.fns.values() if fn.api_visibility != "private"]
    assert public == ["image_to_video", "explore"]


def test_the_endpoint_has_fals_names_order_and_defaults(page: gr.Blocks) -> None:
    parameters = page.get_api_info()["named_endpoints"]["/image_to_video"]["parameters"]
    assert [each["parameter_name"] for each in parameters] == list(IMAGE_TO_VIDEO.fields)
    defaults = {e["parameter_name"]: e["parameter_default"] for e in parameters if e["parameter_has_default"]}
    assert defaults == IMAGE_TO_VIDEO.defaults


def test_the_endpoints_types_are_the_schemas(house: House) -> None:
    signature = inspect.signature(image_to_video(house.jobs, Settings(), "miniature"))
    assert signature.parameters["num_frames"].annotation is int
    assert signature.parameters["resolution"].annotation == schema.Resolution
    assert signature.parameters["seed"].annotation == int | None
    assert signature.return_annotation == tuple[gr.FileData, str, int, list[str], str]


def test_every_parameter_is_explained_to_a_tool(house: House) -> None:
    words = image_to_video(house.jobs, Settings(), "miniature").__doc__ or ""
    for name, field in IMAGE_TO_VIDEO.fields.items():
        assert f"{name}: {field.description}" in words


def test_events_that_show_no_progress_keep_their_status_where_nothing_is_mounted(page: gr.Blocks) -> None:
    told = page.get_config_file()["dependencies"]
    places = {place for event in told if event["show_progress"] == "hidden" for place in event["show_progress_on"]}
    (place,) = places
    assert page.blocks[place].visible is False  # type: ignore[attr-defined]
    assert not any(place in event["inputs"] + event["outputs"] for event in told)


def test_no_event_waits_for_the_change_of_a_picture_that_gradio_clones(page: gr.Blocks) -> None:
    boxes = [block for block in page.blocks.values() if isinstance(block, UploadedImage)]
    told = {box: [fn for fn in page.fns.values() if (box._id, "change") in fn.targets] for box in boxes}
    assert len(boxes) == 2
    assert all([fn.outputs for fn in told[box]] == [[box.chosen]] for box in boxes)


def test_no_event_of_a_run_waits_for_another(page: gr.Blocks) -> None:
    queued = [
        fn
        for fn in page.fns.values()
        if fn.queue and fn.fn is not None and ("unload" not in [event for _, event in fn.targets])
    ]
    waiting = {fn.name: fn.concurrency_limit for fn in queued}
    assert {"press", "finish_again", "watch", "image_to_video"} <= set(waiting)
    assert set(waiting.values()) == {None}


def test_every_input_has_a_label_and_an_id(page: gr.Blocks) -> None:
    for block in page.blocks.values():
        if isinstance(block, gr.components.FormComponent | gr.Image | gr.Code):
            assert block.label and block.elem_id, block


def test_the_preset_of_the_machine_is_in_the_form_from_the_start(page: gr.Blocks) -> None:
    frames = next(block for block in page.blocks.values() if block.elem_id == "num_frames")
    assert frames.value == presets()["miniature"].values["num_frames"]


def test_what_the_knobs_do_is_shown_only_where_it_was_measured(house: House) -> None:
    def shown(engine: str) -> bool:
        page = ui.build(house.jobs, Settings(), Estimator(MACHINE), Choice(profiles()[engine], "It suits."))
        return any(block.elem_id == "knobs" for block in page.blocks.values())

    assert shown("miniature") and not shown("a14b")


def test_the_page_names_no_address_but_fals_and_the_examples(page: gr.Blocks) -> None:
    sources = "".join(
        path.read_text("utf-8")
        for path in Path(ui.__file__).parent.iterdir()
        if path.suffix != ".pyc" and path.is_file()
    )
    hosts = set(re.findall(r"https?://([\w.-]+)", sources))
    assert hosts <= {"fal.run", "example.com"}


def test_the_launch_options_open_no_folder(page: gr.Blocks) -> None:
    options: dict[str, Any] = ui.launch_options()
    assert "allowed_paths" not in options
    assert set(options) <= set(inspect.signature(gr.Blocks.launch).parameters)


def test_a_secret_of_the_host_is_not_in_the_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAL_KEY", "canary-key")
    page = ui.build(house.jobs, Settings(), Estimator(MACHINE), CHOICE, fal="open")
    assert "canary" not in str(page.get_config_file())


def test_where_fal_is_open_the_places_are_shown_and_the_label_warns_beside_the_miniature(house: House) -> None:
    page = ui.build(house.jobs, Settings(), Estimator(MACHINE), CHOICE, fal="own_key")
    where = next(block for block in page.blocks.values() if block.elem_id == "where")
    key = next(block for block in page.blocks.values() if block.elem_id == "fal-key")
    assert isinstance(where, gr.Radio) and where.visible and key.type == "password"
    assert "here always" in where.choices[2][0]
    assert "has no key of its own" in key.info


def test_expanding_shows_what_changed() -> None:
    html = changes("a cat runs", "a <big> cat runs", "")
    assert "<ins>&lt;big&gt; </ins>" in html and "<big>" not in html
    assert "kept" in changes("a", "a", "The words were kept.")
