"""The page's parts over a real desk with a scripted backend, without a server."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.routes import App
from PIL import Image

from tests.support.jobs import House, a_house
from wan_core import ui
from wan_core.estimator import Estimator
from wan_core.files import FileStore
from wan_core.presets import presets
from wan_core.profiles import Choice, Machine, profiles
from wan_core.settings import Settings
from wan_core.ui import end_picture
from wan_core.ui.form_events import FormEvents
from wan_core.ui.page import FormColumn
from wan_core.ui.retuning import Notices, Retuning, RetuningParts
from wan_core.ui.run_events import RunEvents
from wan_core.ui.screen import Screen, build_screen
from wan_core.ui.summary import SettingsSummary, SummaryParts, build_snippets
from wan_core.ui.visit import visit_state

MACHINE = Machine()
CHOICE = Choice(profiles()["miniature"], "It suits.")
VALUES = {
    "prompt": "a walk",
    "num_frames": 17,
    "engine": "miniature",
    "where": "local",
    "prompt_in_file": True,
    "picture_detail": True,
}


@dataclass
class Desk:
    """What `build` connects, for tests to call."""

    house: House
    left: FormColumn
    screen: Screen
    run_events: RunEvents
    form_events: FormEvents
    retuning: Retuning
    summary: SettingsSummary

    def values(self, **changed: Any) -> list[Any]:
        """The form as an event would send it: fal's defaults, a picture and a prompt unless told otherwise."""
        given = {"picture": str(self.picture()), "image_url": "", **end_picture.NONE, "seed": ""} | presets()[
            "fal_defaults"
        ].complete
        given |= VALUES | changed
        return [given[name] for name in self.left.form.names]

    def picture(self) -> Path:
        """An uploaded picture."""
        path = ui.uploads_folder() / "picture" / "a.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (640, 360), "teal").save(path)
        return path


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Gradio's upload folder, for this test alone."""
    folder = tmp_path / "gradio"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


@contextmanager
def loops_of_gradio() -> Iterator[list[asyncio.AbstractEventLoop]]:
    """Gradio makes two event loops for each Blocks and never closes them: those that are made meanwhile."""
    made, make = [], asyncio.new_event_loop

    def remembered() -> asyncio.AbstractEventLoop:
        made.append(make())
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", remembered)
        yield made


@pytest.fixture(autouse=True)
def closed_loops() -> Iterator[None]:
    with loops_of_gradio() as made:
        yield
    for loop in made:
        loop.close()


@pytest.fixture(autouse=True)
def apps_only_where_they_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio makes two web apps for each Blocks that it builds, and another one, which alone is used, at the launch."""
    create = App.create_app

    def create_app(blocks: gr.Blocks, **options: Any) -> App | None:
        return None if options == {"mcp_server": False} else create(blocks, **options)

    monkeypatch.setattr(App, "create_app", staticmethod(create_app))


@pytest.fixture
def house(data: FileStore) -> Iterator[House]:
    with a_house(data) as run_events:
        yield run_events


@dataclass
class Layout:
    """The components of a page. They hold nothing of a visitor, so that one layout serves every test."""

    left: FormColumn
    screen: Screen
    summary: SummaryParts
    header: gr.HTML


@pytest.fixture(scope="session")
def layout() -> Iterator[Layout]:
    with loops_of_gradio() as made, gr.Blocks():
        left = FormColumn(presets()["miniature"], CHOICE, MACHINE, "closed", expands=False)
        screen = build_screen(visit_state(), left.generate, left.cancel)
        parts = SummaryParts(left.presets, left.kept, *left.outcome_parts, *build_snippets())
        header = gr.HTML()
    yield Layout(left, screen, parts, header)
    for loop in made:
        loop.close()


@pytest.fixture
def desk(house: House, layout: Layout) -> Desk:
    left, screen, parts, header = layout.left, layout.screen, layout.summary, layout.header
    parts_of_retuning = RetuningParts(left.tuned, left.undo, left.retuned, header, left.chips)
    run_events = RunEvents(house.jobs, Settings(), left.form, screen, left.faults)
    retuning = Retuning(left.form, parts_of_retuning, Notices("Wan", is_own_machine=True))
    form_events = FormEvents(house.jobs, left.form, left.presets, screen, CHOICE, MACHINE, retuning.parts)
    summary = SettingsSummary(left.form, parts, Estimator(MACHINE), CHOICE.profile, house.jobs)
    return Desk(house, left, screen, run_events, form_events, retuning, summary)


@pytest.fixture
def caller() -> gr.Request:
    """Somebody at the page."""
    asked = SimpleNamespace(headers={}, query_params={}, client=SimpleNamespace(host="127.0.0.1"))
    return gr.Request(asked)  # type: ignore[arg-type]
