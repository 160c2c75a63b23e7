"""The Explore tab's events over a real service with a scripted backend."""

import asyncio
import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from tests.support.jobs import House
from tests.ui.conftest import MACHINE, Desk
from wan_core.errors import BackendError
from wan_core.estimator import Estimator
from wan_core.events import Event, Job, Stage
from wan_core.explore.axes import read_axis
from wan_core.explore.definition import Definition
from wan_core.jobs.sweeps import SweepService
from wan_core.settings import Settings
from wan_core.ui.explore import exporting
from wan_core.ui.explore.axes_editor import chips, definition_of, toggled
from wan_core.ui.explore.endpoint import explore
from wan_core.ui.explore.events import ExploreEvents
from wan_core.ui.explore.tab import build_press, build_tab, sweep_state
from wan_core.ui.visit import Visit

AXES = ["guidance_scale", "1, 3.5", "shift", "2, 5", "", ""]


@pytest.fixture
def explore_events(house: House, desk: Desk) -> ExploreEvents:
    with gr.Blocks():
        with gr.Tabs() as tabs, gr.Tab("Explore"):
            tab = build_tab(sweep_state(), build_press([]))
    sweeps = SweepService(house.jobs, house.jobs.files)
    return ExploreEvents(sweeps, Settings(), Estimator(MACHINE), desk.left.form, tab, desk.screen.visit, tabs)


def event(**said: Any) -> gr.EventData:
    return gr.EventData(None, said)  # type: ignore[arg-type]


def started(events: ExploreEvents, desk: Desk, caller: gr.Request, axes: list[str] = AXES, **changed: Any) -> Any:
    values = [*axes, True, *desk.values(**changed)]
    return asyncio.run(events.start(caller, "", False, *values))


def watched(events: ExploreEvents, stored: Any) -> list[dict[str, Any]]:
    async def collect() -> list[Any]:
        return [shown async for shown in events.watch(stored)]

    found = re.findall(r'data-patches="([^"]*)"', collect_html(asyncio.run(collect()), events))
    return [json.loads(unescape(text)) for text in found]


def collect_html(updates: list[Any], events: ExploreEvents) -> str:
    return "".join(str(update.get(events._tab.patches, "")) for update in updates)


def test_the_grid_appears_at_once_and_fills_as_cells_finish(
    explore_events: ExploreEvents, desk: Desk, caller: gr.Request
) -> None:
    shown = started(explore_events, desk, caller)
    html = shown[explore_events._tab.grid]
    assert html.count('<figure class="cell"') == 4 and "Scout makes each clip" in html
    assert "Guidance scale (1st stage) <b>3.5</b>" in html
    patches = watched(explore_events, shown[explore_events._tab.sweep])
    assert {patch["state"] for patch in patches[-1]} == {"done"} and len(patches[-1]) == 4
    assert all(patch["clip"] == f"files/{patch['job']}.mp4" for patch in patches[-1])


def test_a_reload_shows_the_same_grid(explore_events: ExploreEvents, desk: Desk, caller: gr.Request) -> None:
    shown = started(explore_events, desk, caller)
    stored = shown[explore_events._tab.sweep]
    watched(explore_events, stored)
    again = explore_events.load(caller, stored)[explore_events._tab.grid]
    assert again.count('data-state="done"') == 4


def test_an_address_shows_a_sweep_or_sets_the_axes(
    explore_events: ExploreEvents, desk: Desk, caller: gr.Request
) -> None:
    sweep_id = started(explore_events, desk, caller)[explore_events._tab.sweep]["sweep"]

    def opened(**query: str) -> Any:
        request = gr.Request(SimpleNamespace(headers={}, query_params=query, client=None))  # type: ignore[arg-type]
        return explore_events.load(request, None)

    assert sweep_id in opened(show=sweep_id)[explore_events._tab.grid]
    assert "no longer kept" in opened(show="nonsense")[explore_events._tab.grid]
    axes = opened(explore='{"axes":[["shift","2..8 step 3"]],"scout":false}')
    assert axes[explore_events._tab.axes[0].values] == "2..8 step 3" and not axes[explore_events._tab.scout]


def test_the_line_tells_the_cost_and_what_would_fit(explore_events: ExploreEvents, desk: Desk) -> None:
    def line(axes: list[str], **changed: Any) -> Any:
        return explore_events.refresh(None, *axes, True, *desk.values(**changed))

    assert "2 × 2 = 4 clips · about" in line(AXES)[explore_events._tab.line]
    too_many = line(["seed", "1..10", "shift", "2, 5, 6, 8", "", ""])
    assert 'data-offer="fewer"' in too_many[explore_events._tab.line]
    assert too_many[explore_events._tab.make]["interactive"] is False
    assert "must be a number" in line(["shift", "11", "", "", "", ""])[explore_events._tab.line]
    assert "prompt" not in line(AXES, prompt="", picture=None)[explore_events._tab.line], "they may come later"
    assert "seed must be a whole number" in line(AXES, seed="1.5")[explore_events._tab.line]


def test_the_offer_of_fewer_cells_fits(explore_events: ExploreEvents, desk: Desk) -> None:
    values = ["seed", "1..10", "shift", "2, 5, 6, 8", "", "", True, *desk.values()]
    shown = explore_events.offer(event(offer="fewer"), *values)
    texts = [shown[part] for axis in explore_events._tab.axes for part in (axis.knob, axis.values)]
    line = explore_events.refresh(None, *texts, True, *desk.values())
    assert line[explore_events._tab.make]["interactive"] is True


def test_vary_puts_a_knob_on_an_axis(explore_events: ExploreEvents, desk: Desk) -> None:
    shown = explore_events.vary(event(vary="seed"), *AXES, True, *desk.values())
    assert shown[explore_events._tab.axes[2].knob] == "seed" and shown[explore_events._tab.axes[2].values] == "seeds: 3"


def test_without_a_picture_or_above_the_limit_nothing_starts(
    explore_events: ExploreEvents, desk: Desk, caller: gr.Request
) -> None:
    with pytest.raises(gr.Error, match="Add a picture first"):
        started(explore_events, desk, caller, picture=None)
    with pytest.raises(gr.Error, match="at most 36"):
        started(explore_events, desk, caller, ["seed", "1..40", "", "", "", ""])


def test_a_cells_buttons(explore_events: ExploreEvents, desk: Desk, caller: gr.Request) -> None:
    stored = started(explore_events, desk, caller, num_frames=81)[explore_events._tab.sweep]
    last = watched(explore_events, stored)[-1][3]

    def act(action: str, job: str = last["job"]) -> Any:
        return asyncio.run(explore_events.act(caller, event(action=action, job=job, time=0), "", stored, Visit().plain))

    settings = act("settings")
    assert settings[desk.left.form["guidance_scale"]] == 3.5 and settings[desk.left.form["num_frames"]] == 17
    promoted = act("promote")[desk.screen.visit]["jobs"][-1]
    record = desk.house.jobs.get(promoted)
    assert record is not None and record.job.inputs.num_frames == 81 and record.job.inputs.guidance_scale == 3.5
    assert "num_frames=17" in act("link")[explore_events._tab.link]
    with pytest.raises(gr.Error, match="no longer kept"):
        act("settings", job="00000000-0000-0000-0000-000000000000")


def test_the_frame_that_a_cell_shows_becomes_the_start_picture(
    explore_events: ExploreEvents, desk: Desk, caller: gr.Request
) -> None:
    stored = started(explore_events, desk, caller, num_frames=81)[explore_events._tab.sweep]
    job_id = watched(explore_events, stored)[-1][3]["job"]
    record = desk.house.jobs.get(job_id)
    assert record is not None
    result = desk.house.jobs.result(record)
    assert result is not None
    shape = (result.size.height, result.size.width, 3)
    np.save(desk.house.jobs.files.frames(job_id), np.stack([np.full(shape, number, np.uint8) for number in range(17)]))
    within = {(number + 0.5) / result.fps: number for number in (4, 5)}  # where a player's clock stands
    for time, number in (within | {6 / result.fps: 6, "soon": 0, "nan": 0}).items():
        press = event(action="use-frame", job=job_id, time=time)
        lent = asyncio.run(explore_events.act(caller, press, "", stored, Visit().plain))
        picture = np.asarray(Image.open(lent[desk.left.form["picture"]]))
        assert (picture == number).all()


def test_pictures_of_the_visitors_disk_become_values_that_are_told_apart(
    explore_events: ExploreEvents, desk: Desk
) -> None:
    shown = desk.picture()
    text, cleared = explore_events.add_pictures([str(shown)], "https://a.example/cat.jpg")
    text, _ = explore_events.add_pictures([str(shown)], text)
    address, *uploads = text.splitlines()
    assert address == "https://a.example/cat.jpg" and cleared is None
    assert shown.is_file(), "the form may show the same upload"
    kept = [desk.house.jobs.files.uploads / each.removeprefix("upload:") for each in uploads]
    assert all(path.suffix == ".png" and path.is_file() for path in kept) and kept[0] != kept[1]
    assert [value.text for value in read_axis("image_url", text).values] == [address, "no. 2", "no. 3"]
    assert toggled("image_url", text, event(value="1")) == text.replace(uploads[0], f"SKIP: {uploads[0]}")


def test_only_pictures_among_the_uploads_become_values(
    explore_events: ExploreEvents, desk: Desk, tmp_path: Path
) -> None:
    words = desk.picture().with_name("words.png")
    words.write_text("no picture")
    stranger = tmp_path / "stranger.png"
    stranger.write_bytes(desk.picture().read_bytes())
    for path, said in ((words, "not a picture"), (stranger, "not among the uploads")):
        with pytest.raises(gr.Error, match=said):
            explore_events.add_pictures([str(path)], "")


def test_failed_cells_say_why_and_run_again(explore_events: ExploreEvents, desk: Desk, caller: gr.Request) -> None:
    failed: list[str] = []

    def once(job: Job, stop: Any) -> Iterator[Event]:
        yield Stage("loading")
        if not failed:
            failed.append(job.id)
            raise BackendError("out_of_memory", "It does <b>not</b> fit.")
        yield from desk.house.backend.make_clip(job, stop)

    desk.house.backend.scripts["a walk"] = once
    stored = started(explore_events, desk, caller)[explore_events._tab.sweep]
    assert "It does <b>not</b> fit." in {patch["status"] for patch in watched(explore_events, stored)[-1]}
    assert "<b>not</b>" not in explore_events.load(caller, stored)[explore_events._tab.grid]
    again = explore_events.retry(caller, "", stored)
    assert failed[0] in again[explore_events._tab.patches]
    assert {patch["state"] for patch in watched(explore_events, stored)[-1]} == {"done"}


def test_tables_and_page_are_exported(explore_events: ExploreEvents, desk: Desk, caller: gr.Request) -> None:
    stored = started(explore_events, desk, caller)[explore_events._tab.sweep]
    watched(explore_events, stored)
    sweeps = explore_events._sweeps
    sweep = sweeps.require(stored["sweep"])
    plain = json.loads(exporting.export(sweeps, sweep, "json").read_text("utf-8"))
    assert [cell["Shift"] for cell in plain["cells"]] == ["2", "2", "5", "5"]
    table = exporting.export(sweeps, sweep, "csv").read_text("utf-8")
    assert len(list(csv.DictReader(io.StringIO(table.partition("\n")[2])))) == 4
    with zipfile.ZipFile(exporting.export(sweeps, sweep, "page")) as pack:
        names, page = set(pack.namelist()), pack.read("index.html").decode()
    assert {f"clips/{job}.mp4" for job in sweep.job_ids} <= names
    assert all(f'data-clip="clips/{job}.mp4"' in page for job in sweep.job_ids)
    assert "data-action" not in page.partition("<section")[2].partition("</section>")[0]


def test_scripts_get_the_cells_as_they_finish(house: House, caller: gr.Request) -> None:
    function = explore(SweepService(house.jobs, house.jobs.files), Settings(), "miniature")

    async def collect() -> list[Any]:
        asked = ("https://example.com/a.png", "a walk", {"shift": [2, 5]}, None, True, caller)
        return [cells async for cells in function(*asked)]

    answers = asyncio.run(collect())
    assert [cell["state"] for cell in answers[-1]] == ["done", "done"]
    assert [cell["settings"] for cell in answers[-1]] == [{"Shift": "2"}, {"Shift": "5"}]
    assert all(cell["video"].endswith(f"/files/{cell['job']}.mp4") for cell in answers[-1])


def test_a_chip_skips_its_value() -> None:
    assert toggled("shift", "2, 5, 8", event(value="1")) == "2, SKIP: 5, 8"
    assert toggled("shift", "2, SKIP: 5, 8", event(value="1")) == "2, 5, 8"
    assert 'aria-pressed="false"' in chips("shift", "2, SKIP: 5")
    assert definition_of(["", "1", "shift", "2"], scout=False) == Definition(
        (definition_of(["shift", "2"], scout=False).axes[0],), False
    )
