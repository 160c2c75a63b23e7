"""Submit, watch, reattach, cancel, finish again: the events of a run over a real desk."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from tests.support.fake_backend import wait_for_stop
from tests.support.jobs import MOST_FRAMES
from tests.ui.conftest import Desk
from wan_core.cutting import Cut
from wan_core.errors import UNEXPECTED, BackendError, InputError
from wan_core.events import Event, Job, Note, Preview, Stage, Step
from wan_core.jobs.service import Submission
from wan_core.ui.run_events import NO_PICTURE
from wan_core.ui.visit import Visit


def press(desk: Desk, caller: gr.Request, name: str = "", visit: object = None, **changed: Any) -> dict[Any, Any]:
    """What the page is shown after a press of Generate."""
    return asyncio.run(desk.run_events.submit(caller, name, visit, "", *desk.values(**changed)))


def submit(desk: Desk, caller: gr.Request, visit: Visit = Visit(), key: str = "", **changed: Any) -> Visit:  # noqa: B008
    shown = asyncio.run(desk.run_events.submit(caller, "", visit.plain, key, *desk.values(**changed)))
    return Visit.of(shown[desk.screen.visit])


def submit_with_frames(desk: Desk, caller: gr.Request) -> Visit:
    """A job that leaves the frames of its clip."""
    backend = desk.house.backend

    def make_both(job: Job, stop: threading.Event) -> Iterator[Event]:
        backend.files.frames(job.id).write_bytes(b"frames")
        yield from backend.make_clip(job, stop)

    backend.scripts["a walk"] = make_both
    return submit(desk, caller)


def finish_again(desk: Desk, caller: gr.Request, visit: object, *values: Any, cut: Any = (1, 17, "stop")) -> Visit:
    return Visit.of(asyncio.run(desk.run_events.finish_again(caller, "", visit, *cut, *values)))


def watch(desk: Desk, visit: Visit) -> list[dict[str, Any]]:
    """What the page is shown until the job is over, by the components' ids."""

    async def collect() -> list[dict[str, Any]]:
        parts = {**vars(desk.screen), **vars(desk.screen.cut)}
        names = {component: name for name, component in parts.items() if name != "cut"}
        return [
            {names[part]: value for part, value in shown.items()} async for shown in desk.run_events.watch(visit.plain)
        ]

    return asyncio.run(collect())


def pressed(desk: Desk, caller: gr.Request, **changed: Any) -> Iterator[dict[Any, Any]]:
    """What the page is shown, bit by bit."""
    events = desk.run_events.press(caller, "", Visit().plain, "", *desk.values(**changed))
    with asyncio.Runner() as runner:
        while True:
            try:
                yield runner.run(anext(events))
            except StopAsyncIteration:
                return


def test_a_press_that_is_answered_at_once_says_nothing_in_between(desk: Desk, caller: gr.Request) -> None:
    (shown,) = pressed(desk, caller)
    assert Visit.of(shown[desk.screen.visit]).job


def test_a_press_that_takes_a_while_says_what_it_waits_for(
    desk: Desk, caller: gr.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_core.ui.run_events.AT_ONCE_S", 0.0)
    while_it_waits, last = pressed(desk, caller)
    (said,) = while_it_waits.values()
    assert "Looking at the picture" in said
    assert Visit.of(last[desk.screen.visit]).job and last[desk.left.faults] == ""


def test_presses_beside_another_are_answered_at_once_and_begin_in_their_order_in_a_lull(
    desk: Desk, caller: gr.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_core.ui.run_events.AT_ONCE_S", 60.0)
    monkeypatch.setattr("wan_core.ui.run_events.LULL_S", 0.9)
    submit, free, begun = desk.house.jobs.submit, asyncio.Event(), []

    async def submit_once_free(submission: Submission, *given: Any) -> Any:
        begun.append(submission.inputs.prompt)
        await free.wait()
        return await submit(submission, *given)

    async def presses() -> tuple[list[str], list[str], list[Any]]:
        events = [
            desk.run_events.press(caller, "", Visit().plain, "", *desk.values(prompt=f"walk {number}"))
            for number in range(8)
        ]
        first = asyncio.ensure_future(anext(events[0]))
        await asyncio.sleep(0)
        said = [str(await anext(each)) for each in events[1:]]
        begun_by_then = list(begun)
        free.set()
        return said, begun_by_then, await asyncio.gather(first, *map(anext, events[1:]))

    monkeypatch.setattr(desk.house.jobs, "submit", submit_once_free)
    said, begun_by_then, shown = asyncio.run(presses())
    assert all("Looking at the picture" in each for each in said)
    assert begun_by_then == ["walk 0"]
    assert begun == [f"walk {number}" for number in range(8)]
    assert all(Visit.of(each[desk.screen.visit]).job for each in shown)


def test_a_press_begins_also_where_there_is_no_lull(
    desk: Desk, caller: gr.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_core.ui.run_events.LULL_S", 3600.0)
    monkeypatch.setattr("wan_core.ui.run_events.LONGEST_WAIT_S", 0.1)

    async def last_of_the_second() -> Any:
        events = [desk.run_events.press(caller, "", Visit().plain, "", *desk.values()) for _ in range(2)]
        await asyncio.gather(*map(anext, events))
        return await asyncio.wait_for(anext(events[1]), 20)

    assert Visit.of(asyncio.run(last_of_the_second())[desk.screen.visit]).job


def test_what_is_missing_is_said_at_once_beside_others_too(
    desk: Desk, caller: gr.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_core.ui.run_events.LULL_S", 3600.0)
    monkeypatch.setattr("wan_core.ui.run_events.LONGEST_WAIT_S", 3600.0)
    monkeypatch.setattr("wan_core.ui.run_events.AT_ONCE_S", 60.0)

    async def fault_beside_another() -> dict[Any, Any]:
        first = desk.run_events.press(caller, "", Visit().plain, "", *desk.values())
        running = asyncio.ensure_future(anext(first))
        await asyncio.sleep(0)
        second = desk.run_events.press(caller, "", Visit().plain, "", *desk.values(prompt=""))
        shown = await asyncio.wait_for(anext(second), 20)
        await running
        return shown

    assert "prompt is empty" in str(asyncio.run(fault_beside_another())[desk.left.faults])


def test_what_a_press_waited_for_goes_with_its_fault(
    desk: Desk, caller: gr.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any, **__: Any) -> None:
        await asyncio.sleep(0.05)
        raise BackendError("too_many_jobs", "Too many jobs wait already.")

    monkeypatch.setattr(desk.house.jobs, "submit", full)
    monkeypatch.setattr("wan_core.ui.run_events.AT_ONCE_S", 0.0)
    shown = pressed(desk, caller)
    assert "Looking at the picture" in str(next(shown))
    assert list(next(shown).values()) == [""]
    with pytest.raises(gr.Error, match="Too many jobs"):
        next(shown)


def test_a_run_ends_with_the_clip_and_its_facts(desk: Desk, caller: gr.Request) -> None:
    visit = submit(desk, caller, seed="7")
    *_, last = watch(desk, visit)
    assert f'data-src="files/{visit.job}.mp4"' in last["player"]
    assert '<code id="seed-used">7</code>' in last["facts"] and "a walk" in last["facts"]
    assert last["status"] == "" and Visit.of(last["visit"]).clip == visit.job
    assert not last["cancel"]["visible"]


def held(desk: Desk, *events: Event) -> threading.Event:
    """Let every walk say `events` and then wait for the returned gate before it makes its clip."""
    gate = threading.Event()

    def script(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield from events
        gate.wait(timeout=30)
        yield from desk.house.backend.make_clip(job, stop)

    desk.house.backend.scripts["a walk"] = script
    return gate


def follow(desk: Desk, visit: Visit, until: Callable[[dict[Any, Any]], bool], gate: threading.Event) -> list[Any]:
    """Watch to the end; the gate opens when `until` has been shown."""

    async def collect() -> list[Any]:
        shown = []
        async for part in desk.run_events.watch(visit.plain):
            shown.append(part)
            if until(part):
                gate.set()
        return shown

    return asyncio.run(collect())


def test_while_it_runs_stage_and_steps_are_shown(desk: Desk, caller: gr.Request) -> None:
    gate = held(desk, Stage("sampling"), Step("sampling", 2, 3, 40.0))
    panel = desk.screen.status
    shown = follow(desk, submit(desk, caller), lambda part: "Step 2 of 3" in part.get(panel, ""), gate)
    assert shown[0][desk.screen.cancel]["visible"] is True
    assert any("about 40 s left" in part.get(panel, "") for part in shown)


def test_watching_again_after_the_end_shows_the_clip_at_once(desk: Desk, caller: gr.Request) -> None:
    visit = submit(desk, caller)
    watch(desk, visit)
    *_, ended = watch(desk, visit)
    assert f"files/{visit.job}.mp4" in ended["player"]


def test_a_job_nobody_knows_leaves_the_page_ready(desk: Desk) -> None:
    (shown,) = watch(desk, Visit(("8b0f1b5e-0000-4000-8000-000000000000",)))
    assert not shown["cancel"]["visible"]


def test_a_cancelled_job_says_so_and_is_not_followed_again(desk: Desk, caller: gr.Request) -> None:
    desk.house.backend.scripts["a walk"] = wait_for_stop
    visit = submit(desk, caller)

    async def cancel_when_running() -> dict[Any, Any]:
        last: dict[Any, Any] = {}
        async for shown in desk.run_events.watch(visit.plain):
            desk.run_events.cancel(visit.plain)
            last = shown
        return last

    last = asyncio.run(cancel_when_running())
    assert "Cancelled" in last[desk.screen.status]
    assert Visit.of(last[desk.screen.visit]).job is None


def test_a_failed_job_shows_its_sentence(desk: Desk, caller: gr.Request) -> None:
    def fail(job: Job, stop: threading.Event) -> Any:
        yield Stage("loading")
        raise BackendError("out_of_memory", "The card's memory is full. Try 480p.")

    desk.house.backend.scripts["a walk"] = fail
    *_, last = watch(desk, submit(desk, caller))
    assert "The card&#x27;s memory is full. Try 480p." in last["status"]
    assert "data-act" in last["status"] and "Retry" in last["status"]


def test_two_jobs_of_one_page_have_a_panel_each_and_one_is_cancelled_alone(desk: Desk, caller: gr.Request) -> None:
    desk.house.backend.scripts["a walk"] = wait_for_stop
    first = submit(desk, caller)
    second = submit(desk, caller, first)
    assert second.jobs == (first.job, second.job)

    async def stop_one_after_the_other() -> list[dict[Any, Any]]:
        shown = []
        async for part in desk.run_events.watch(second.plain):
            shown.append(part)
            if desk.screen.status in part and second.jobs:
                panel = part[desk.screen.status]
                running = [job for job in second.jobs if f'data-act="cancel:{job}"' in panel]
                if running:
                    desk.run_events.act(second.plain, SimpleNamespace(act=f"cancel:{second.job}"))  # type: ignore[arg-type]
                elif second.jobs[0] in panel:
                    desk.run_events.cancel(Visit((first.job or "",)).plain)
        return shown

    shown = asyncio.run(stop_one_after_the_other())
    assert any(part.get(desk.screen.status, "").count("panel running") == 2 for part in shown)
    assert [record.status for record in map(desk.house.jobs.get, second.jobs) if record] == ["cancelled"] * 2


def test_a_failed_job_stays_in_sight_after_a_reload_until_the_next_press(desk: Desk, caller: gr.Request) -> None:
    def fail(job: Job, stop: threading.Event) -> Any:
        yield Stage("loading")
        raise BackendError("out_of_memory", "The card is full.")

    desk.house.backend.scripts["a walk"] = fail
    visit = submit(desk, caller)
    watch(desk, visit)
    *_, again = watch(desk, visit)
    assert "The card is full." in again["status"]
    put_away = desk.run_events.act(visit.plain, SimpleNamespace(act=f"dismiss:{visit.job}"))  # type: ignore[arg-type]
    assert Visit.of(put_away[desk.screen.visit]).jobs == ()
    assert submit(desk, caller, visit, prompt="another").jobs != visit.jobs


def test_a_newer_watcher_of_the_same_page_takes_over(desk: Desk, caller: gr.Request) -> None:
    desk.house.backend.scripts["a walk"] = wait_for_stop
    visit, page = submit(desk, caller), SimpleNamespace(session_hash="one page")

    async def watch_twice() -> bool:
        older = desk.run_events.watch(visit.plain, page)  # type: ignore[arg-type]
        await anext(older)
        newer = desk.run_events.watch(visit.plain, page)  # type: ignore[arg-type]
        await anext(newer)
        rest = asyncio.create_task(newer.__anext__())
        left = [part async for part in older if "panel running" not in part.get(desk.screen.status, "")]
        desk.run_events.cancel(visit.plain)
        await rest
        return not left

    assert asyncio.run(watch_twice()), "the older one ends while the job runs"


def test_a_preview_is_shown_and_taken_away_at_the_end(desk: Desk, caller: gr.Request) -> None:
    gate, preview = threading.Event(), desk.screen.preview

    def script(job: Job, stop: threading.Event) -> Any:
        desk.house.jobs.files.preview(job.id).write_bytes(b"RIFF")
        yield Preview()
        gate.wait()
        yield from desk.house.backend.make_clip(job, stop)

    desk.house.backend.scripts["a walk"] = script
    shown = follow(desk, submit(desk, caller), lambda part: "base64,UklGRg==" in part.get(preview, ""), gate)
    assert shown[-1][preview] == ""


def test_notes_of_a_run_end_up_beside_the_clip(desk: Desk, caller: gr.Request) -> None:
    def noting(job: Job, stop: threading.Event) -> Any:
        yield Note("Not <checked>.")
        yield from desk.house.backend.make_clip(job, stop)

    desk.house.backend.scripts["a walk"] = noting
    *_, last = watch(desk, submit(desk, caller))
    assert "<li>Not &lt;checked&gt;.</li>" in last["facts"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"picture": None}, "Add a picture first"),
        ({"num_frames": float("nan")}, f"num_frames must be a whole number from 17 to {MOST_FRAMES}"),
        ({"prompt": "x" * 4001}, "prompt may have at most 4,000 characters"),
        ({"seed": "9" * 40}, "seed must be a whole number from 0 to"),
    ],
)
def test_a_fault_of_the_form_is_our_sentence(
    desk: Desk, caller: gr.Request, changed: dict[str, Any], sentence: str
) -> None:
    shown = press(desk, caller, **changed)
    assert sentence in shown[desk.left.faults] and desk.screen.visit not in shown
    assert not desk.house.runner.records.unfinished()
    submit(desk, caller)


def test_all_faults_are_listed_with_their_fields_and_sections(desk: Desk, caller: gr.Request) -> None:
    listed = press(desk, caller, seed="x", num_frames=3, picture=None)[desk.left.faults]
    found = re.findall(r'data-field="(\w+)" data-section="(\w*)"', listed)
    assert sorted(found) == [("num_frames", "frames"), ("picture", ""), ("seed", "sampling")]
    assert "num_frames must be" in listed and NO_PICTURE in listed


def test_an_empty_form_is_told_picture_and_prompt_at_once(desk: Desk, caller: gr.Request) -> None:
    listed = press(desk, caller, prompt=" ", picture=None)[desk.left.faults]
    assert re.findall(r'data-field="(\w+)"', listed) == ["picture", "prompt"]


def test_an_accepted_form_takes_the_faults_away(desk: Desk, caller: gr.Request) -> None:
    assert press(desk, caller)[desk.left.faults] == ""


def test_anything_unexpected_is_one_fixed_sentence(
    desk: Desk, caller: gr.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the key is sk-canary")

    monkeypatch.setattr(desk.house.jobs, "submit", broken)
    with pytest.raises(gr.Error) as caught:
        submit(desk, caller)
    assert caught.value.message == UNEXPECTED and "canary" not in str(caught.value)


def test_the_visitors_key_goes_with_this_job_and_nowhere_else(
    desk: Desk, caller: gr.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, submissions = [], []
    real = desk.house.jobs.submit

    async def spy(submission: Any, client: Any, fal_key: Any) -> Any:
        keys.append(fal_key)
        submissions.append(submission)
        return await real(submission, client)

    monkeypatch.setattr(desk.house.jobs, "submit", spy)
    submit(desk, caller, key=" canary ")
    assert keys[0].get_secret_value() == "canary" and "canary" not in repr((keys[0], submissions[0]))
    submit(desk, caller)
    assert keys[1] is None
    assert "fal_key" not in desk.left.form.names, "the form is sent on every change"


def test_finishing_again_needs_kept_frames(desk: Desk, caller: gr.Request) -> None:
    visit = submit(desk, caller)
    *_, last = watch(desk, visit)
    assert last["again"]["interactive"] is False and "no longer kept" in last["again"]["value"]
    with pytest.raises(gr.Error, match="not kept"):
        finish_again(desk, caller, last["visit"], *desk.values())


def test_finishing_again_makes_a_new_job_with_the_forms_frame_settings(desk: Desk, caller: gr.Request) -> None:
    visit = submit_with_frames(desk, caller)
    assert visit.job
    *_, last = watch(desk, visit)
    assert last["again"]["interactive"]
    values = desk.values(video_quality="low", num_frames=99, picture_detail=False)
    again = finish_again(desk, caller, last["visit"], *values)
    job = desk.house.jobs.get(again.job or "")
    assert job is not None and job.job.frames_of == visit.job
    assert job.job.inputs.video_quality == "low" and job.job.inputs.num_frames == 17
    assert job.job.options.picture_detail is False


def test_a_clip_is_cut_as_the_tools_show_it_and_its_own_cut_is_shown_again(desk: Desk, caller: gr.Request) -> None:
    visit = submit_with_frames(desk, caller)
    assert visit.job
    *_, last = watch(desk, visit)
    assert last["section"]["visible"] and last["last_frame"] == {"maximum": 17, "value": 17, "__type__": "update"}
    again = finish_again(desk, caller, last["visit"], *desk.values(), cut=(3, "9", "boomerang"))
    *_, last = watch(desk, again)
    job = desk.house.jobs.get(again.job or "")
    assert job is not None and job.job.options.cut == Cut(3, 9, "boomerang")
    assert (last["first_frame"]["value"], last["last_frame"]["value"], last["ending"]) == (3, 9, "boomerang")
    assert "frames 3 to 9 of 17, as a boomerang" in last["facts"]
    with pytest.raises(gr.Error, match="last_frame must be a whole number from 1 to 17"):
        finish_again(desk, caller, last["visit"], *desk.values(), cut=(3, 18, "stop"))


def test_a_re_encoding_that_failed_offers_no_retry_that_would_sample_anew(desk: Desk, caller: gr.Request) -> None:
    visit = submit(desk, caller)
    assert visit.job
    *_, last = watch(desk, visit)
    again = finish_again_after_loss(desk, caller, last["visit"], visit.job)
    *_, last = watch(desk, again)
    assert "Put away" in last["status"] and "Retry" not in last["status"]


def finish_again_after_loss(desk: Desk, caller: gr.Request, visit: object, job_id: str) -> Visit:
    """A re-encoding that fails."""

    def fail(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("encoding")
        raise BackendError("storage_full", "The clip could not be written: the disk is full.")

    desk.house.jobs.files.frames(job_id).write_bytes(b"frames")
    desk.house.backend.scripts["a walk"] = fail
    return finish_again(desk, caller, visit, *desk.values())


def test_the_frame_on_show_becomes_the_start_picture_as_it_was_kept(desk: Desk, caller: gr.Request) -> None:
    visit = submit(desk, caller)
    assert visit.job
    *_, last = watch(desk, visit)
    record = desk.house.jobs.get(visit.job)
    assert record is not None
    size = record.job.size
    kept = np.stack([np.full((size.height, size.width, 3), 10 * number, np.uint8) for number in range(17)])
    np.save(desk.house.jobs.files.frames(visit.job), kept)
    filled = desk.form_events.use_frame(last["visit"], 6)
    with Image.open(filled[desk.left.form["picture"]]) as picture:
        assert np.array_equal(np.asarray(picture), kept[3]), "every second frame lies between two kept ones"
    assert filled[desk.left.form["image_url"]] == ""


def test_one_press_sent_twice_is_one_job(desk: Desk, caller: gr.Request) -> None:
    async def send(*names: str) -> list[Any]:
        sent = (desk.run_events.submit(caller, name, {}, "", *desk.values()) for name in names)
        return [Visit.of(each[desk.screen.visit]).job for each in await asyncio.gather(*sent)]

    first, same, other = asyncio.run(send("a", "a", "b"))
    assert first == same != other
    assert asyncio.run(send("a")) == [first]


def test_a_press_that_was_refused_may_be_sent_again(desk: Desk, caller: gr.Request) -> None:
    press(desk, caller, "a", picture=None)
    assert Visit.of(press(desk, caller, "a")[desk.screen.visit]).job


def test_the_seed_of_the_clip_on_show_goes_into_the_form(desk: Desk, caller: gr.Request) -> None:
    *_, last = watch(desk, submit(desk, caller, seed="41"))
    assert desk.run_events.seed_of(last["visit"]) == "41"
    assert desk.run_events.seed_of({}) == ""


def test_an_input_error_of_the_picture_gate_names_the_picture(
    desk: Desk, caller: gr.Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(source: Any, use: Any) -> Any:
        raise InputError("image_url", "image_load_error", "image_url is no picture.")

    monkeypatch.setattr(desk.house.jobs, "_read_picture", refuse)
    shown = press(desk, caller)
    assert 'data-field="picture"' in shown[desk.left.faults]
    assert "image_url is no picture." in shown[desk.left.faults]
