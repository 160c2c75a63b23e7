"""The desk: every accepted job ends once, with a clip or with a sentence, and clients take turns."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.fake_backend import FakeBackend, Script, held_until, wait_for_stop
from tests.support.jobs import NO_FLOOR, OPTIONS, a_house, a_request, grey_picture
from wan_core.errors import BackendError, InputError
from wan_core.events import Event, Failed, Finished, Group, Job, JobOptions, Log, Note, Queued, Stage, Step, Stopped
from wan_core.files import FileStore
from wan_core.jobs.housekeeping import Housekeeping
from wan_core.jobs.limits import Client, client_of
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import Submission
from wan_core.schema import MAX_SEED
from wan_core.settings import Settings

LOST = BackendError("worker_lost", "The worker process died.")


def raising(*errors: Exception, then: FakeBackend) -> Script:
    """Raises each of `errors` in turn, one an attempt; then makes a clip."""
    left = list(errors)

    def script(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("loading")
        if left:
            raise left.pop(0)
        yield from then.make_clip(job, stop)

    return script


def test_a_job_is_watched_from_its_first_event_to_its_clip(data: FileStore) -> None:
    with a_house(data) as house:
        record = house.submit()
        events = house.events(record)
        assert [type(event) for event in events] == [Queued, Stage, Step, Step, Step, Finished]
        assert record.status == "done" and data.clip(record.job.id).is_file()
        assert house.events(record) == events, "a late watcher sees the same"


def test_a_seed_is_drawn_once_and_reported_and_a_given_one_is_kept(data: FileStore) -> None:
    with a_house(data) as house:
        drawn = house.submit()
        outcome = house.outcome(drawn)
        assert isinstance(outcome, Finished)
        assert outcome.result.seed == drawn.job.inputs.seed and 0 <= outcome.result.seed <= MAX_SEED
        assert house.submit(seed=0).job.inputs.seed == 0


def test_the_picture_is_kept_beside_the_job_and_its_ratio_decides_the_size(data: FileStore) -> None:
    async def portrait(source: str | Path, use: Callable[[Image.Image], Any]) -> Any:
        return use(Image.fromarray(np.full((640, 360, 3), (200, 30, 30), np.uint8)))

    with a_house(data, read_picture=portrait) as house:
        record = house.submit(image_url="data:image/png;base64,AAAA")
        assert (record.job.size.width, record.job.size.height) == (480, 832)
        with Image.open(data.picture(record.job.picture)) as kept:
            assert kept.size == (360, 640)
        assert record.job.inputs.image_url == "", "bytes are not kept in rows"


def test_a_picture_that_cannot_be_used_makes_no_job(data: FileStore) -> None:
    async def refuse(source: str | Path, use: Callable[[Image.Image], Any]) -> Any:
        raise InputError("image_url", "image_load_error", "The picture cannot be read.")

    with a_house(data, read_picture=refuse) as house:
        with pytest.raises(InputError):
            house.submit()
        assert not house.store.ids()


def test_a_fault_of_the_end_picture_is_reported_at_its_own_field(data: FileStore) -> None:
    async def refuse_the_end(source: str | Path, use: Callable[[Image.Image], Any]) -> Any:
        if "end" in str(source):
            raise InputError("image_url", "image_load_error", "The picture cannot be read.")
        return await grey_picture(source, use)

    with a_house(data, read_picture=refuse_the_end) as house:
        with pytest.raises(InputError) as caught:
            house.submit(end_image_url="https://example.com/end.png")
        assert (caught.value.field, caught.value.type) == ("end_image_url", "image_load_error")
        assert not house.store.ids() and list(data.picture("any").parent.iterdir()) == []


def test_a_clip_that_ends_where_it_began_keeps_its_picture_once(data: FileStore) -> None:
    with a_house(data) as house:
        job = house.submit(end_image_url="https://example.com/a.png").job
        assert job.end_picture == job.picture
        assert house.submit().job.end_picture is None


def test_a_caller_who_gives_up_while_the_job_is_stored_leaves_no_job_that_runs(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_house(data) as house:
        storing, go_on, add = threading.Event(), threading.Event(), house.store.add

        def slow(*new: Any) -> Any:
            storing.set()
            go_on.wait(20)
            return add(*new)

        monkeypatch.setattr(house.store, "add", slow)

        async def give_up() -> None:
            submission = Submission(a_request(), OPTIONS)
            asked = asyncio.create_task(house.jobs.submit(submission, Client.by_key("a")))
            await asyncio.to_thread(storing.wait, 20)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            go_on.set()
            while not any(house.jobs.get(job_id).cancel_requested for job_id in house.store.ids()):
                await asyncio.sleep(0.01)

        house.backend.scripts["a walk"] = wait_for_stop
        asyncio.run(give_up())
        (job_id,) = house.store.ids()
        assert house.outcome(house.jobs.get(job_id)) == Stopped()


def test_a_running_job_is_cancelled(data: FileStore) -> None:
    backend = FakeBackend(data)
    backend.scripts["endless"] = wait_for_stop
    with a_house(data, backend) as house:
        record = house.submit(prompt="endless")

        async def cancel_when_running() -> None:
            async for event in house.jobs.watch(record):
                if isinstance(event, Stage):
                    assert house.jobs.cancel(record)

        asyncio.run(cancel_when_running())
        assert house.outcome(record) == Stopped() and record.status == "cancelled"
        assert not house.jobs.cancel(record), "it is over"


def test_a_waiting_job_is_cancelled_at_once_and_never_begun(data: FileStore) -> None:
    gate, backend = threading.Event(), FakeBackend(data)
    backend.scripts["held"] = held_until(gate, backend.make_clip)
    with a_house(data, backend) as house:
        first, second = house.submit(prompt="held"), house.submit()
        assert house.jobs.cancel(second)
        assert house.outcome(second) == Stopped()
        gate.set()
        assert isinstance(house.outcome(first), Finished)
        assert backend.ran == [first.job.id]


def test_waiting_jobs_are_told_how_many_are_ahead(data: FileStore) -> None:
    gate, backend = threading.Event(), FakeBackend(data)
    backend.scripts["held"] = held_until(gate, backend.make_clip)
    with a_house(data, backend) as house:
        first = house.submit(prompt="held")
        second, third = house.submit(), house.submit()
        gate.set()
        assert isinstance(house.outcome(first), Finished)
        positions = [event.position for event in house.events(third) if isinstance(event, Queued)]
        assert positions and positions == sorted(positions, reverse=True)
        assert isinstance(house.outcome(second), Finished)


def test_a_job_whose_worker_died_runs_again_and_finishes(data: FileStore) -> None:
    backend = FakeBackend(data)
    backend.scripts["once"] = raising(LOST, then=backend)
    with a_house(data, backend) as house:
        record = house.submit(prompt="once")
        assert isinstance(house.outcome(record), Finished)
        assert record.attempts == 2


def test_a_job_that_kills_its_worker_twice_fails_and_the_next_one_runs(data: FileStore) -> None:
    backend = FakeBackend(data)
    backend.scripts["poison"] = raising(LOST, LOST, LOST, then=backend)
    with a_house(data, backend) as house:
        poison, honest = house.submit(prompt="poison"), house.submit()
        outcome = house.outcome(poison)
        assert isinstance(outcome, Failed) and outcome.type == "worker_lost"
        assert isinstance(house.outcome(honest), Finished)


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (InputError("prompt", "content_policy_violation", "No."), Failed("content_policy_violation", "No.", "prompt")),
        (BackendError("out_of_memory", "Too large."), Failed("out_of_memory", "Too large.")),
    ],
)
def test_a_failure_is_told_in_our_words(data: FileStore, error: Exception, failed: Failed) -> None:
    backend = FakeBackend(data)
    backend.scripts["bad"] = raising(error, then=backend)
    with a_house(data, backend) as house:
        assert house.outcome(house.submit(prompt="bad")) == failed


def test_an_unforeseen_failure_shows_one_fixed_sentence_and_no_detail(
    data: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend(data)
    backend.scripts["bug"] = raising(ZeroDivisionError("/secret/path"), then=backend)
    with a_house(data, backend) as house:
        record = house.submit(prompt="bug")
        outcome = house.outcome(record)
        assert isinstance(outcome, Failed) and "secret" not in outcome.message
        assert record.job.id in caplog.text and "/secret/path" in caplog.text


def test_notes_and_stage_times_arrive_with_the_result(data: FileStore) -> None:
    backend = FakeBackend(data)

    def noting(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Note("Not checked.")
        yield Note("Not checked.")
        yield from backend.make_clip(job, stop)

    backend.scripts["noting"] = noting
    with a_house(data, backend) as house:
        outcome = house.outcome(house.submit(prompt="noting"))
        assert isinstance(outcome, Finished)
        assert outcome.result.notes == ("Not checked.",)
        assert list(outcome.result.stage_seconds) == ["sampling"]


def test_one_client_cannot_fill_the_queue_and_everyone_is_told_when_it_is_full(data: FileStore) -> None:
    gate, backend = threading.Event(), FakeBackend(data)
    backend.scripts["held"] = held_until(gate, backend.make_clip)
    limits = replace(NO_FLOOR, waiting_jobs=4)
    with a_house(data, backend, limits, per_client=True) as house:
        running = house.submit("greedy", prompt="held")
        house.wait_until_running(running)
        for client in ("greedy", "greedy"):
            house.submit(client)
        with pytest.raises(BackendError, match="You have 2 jobs waiting") as refusal:
            house.submit("greedy")
        assert refusal.value.type == "too_many_jobs" and refusal.value.retry_after_s
        house.submit("b")
        house.submit("c")
        with pytest.raises(BackendError, match="4 jobs are waiting"):
            house.submit("d")
        gate.set()
        assert isinstance(house.outcome(running), Finished)


def test_where_every_job_runs_at_once_those_under_way_are_counted(data: FileStore) -> None:
    backend = FakeBackend(data)
    backend.scripts["endless"] = wait_for_stop
    limits = replace(NO_FLOOR, unfinished_jobs=3, unfinished_jobs_per_client=2)
    with a_house(data, backend, limits, per_client=True, concurrency=0) as house:
        for client in ("greedy", "greedy"):
            house.wait_until_running(house.submit(client, prompt="endless"))
        with pytest.raises(BackendError, match="You have 2 jobs under way"):
            house.submit("greedy")
        house.wait_until_running(house.submit("b", prompt="endless"))
        with pytest.raises(BackendError, match="3 jobs are under way"):
            house.submit("c")


def test_a_store_that_cannot_be_written_ends_the_job_and_costs_no_later_one(
    data: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    backend = FakeBackend(data)
    with a_house(data, backend) as house:

        def fill_the_disk(job: Job, stop: threading.Event) -> Iterator[Event]:
            yield from [Log("x" * 10_000)] * 10
            (pages,) = house.store._db.execute("PRAGMA page_count").fetchone()
            house.store._db.execute(f"PRAGMA max_page_count = {pages}")
            yield from backend.make_clip(job, stop)

        backend.scripts["fills the disk"] = fill_the_disk
        assert isinstance(house.outcome(house.submit(prompt="fills the disk")), Finished)
        assert "is not on disk" in caplog.text
        with pytest.raises(BackendError, match="cannot read or write its list of jobs"):
            house.submit(prompt="y" * 4_000)
        house.store._db.execute("PRAGMA max_page_count = 100000")
        assert isinstance(house.outcome(house.submit()), Finished)


def test_clients_take_turns(data: FileStore) -> None:
    gate, backend = threading.Event(), FakeBackend(data)
    backend.scripts["held"] = held_until(gate, backend.make_clip)
    with a_house(data, backend, per_client=True) as house:
        first = house.submit("greedy", prompt="held")
        greedy = [house.submit("greedy"), house.submit("greedy")]
        others = [house.submit(client) for client in ("b", "c")]
        gate.set()
        for record in (first, *greedy, *others):
            house.outcome(record)
        begun = backend.ran
        assert begun[1:3] == [record.job.id for record in others], "the greedy client waits for everybody's first"


def test_a_full_disk_refuses_new_jobs_before_they_cost_anything(data: FileStore) -> None:
    with a_house(data, limits=replace(NO_FLOOR, free_disk_bytes=10**18)) as house:
        with pytest.raises(BackendError, match="disk is full"):
            house.submit()


def test_what_waited_or_ran_when_the_app_died_goes_on_after_a_restart(data: FileStore) -> None:
    backend = FakeBackend(data)
    backend.scripts["endless"] = wait_for_stop
    with a_house(data, backend) as house:
        running, waiting = house.submit(prompt="endless"), house.submit(seed=11)
        while not backend.ran:
            threading.Event().wait(0.01)
    with a_house(data) as house:
        for old in (running, waiting):
            record = house.jobs.get(old.job.id)
            assert record is not None and isinstance(house.outcome(record), Finished)
            assert record.job == old.job


def test_a_finished_job_is_still_known_after_a_restart(data: FileStore) -> None:
    with a_house(data) as house:
        old = house.submit()
        outcome = house.outcome(old)
    with a_house(data) as house:
        record = house.jobs.get(old.job.id)
        assert record is not None and record.outcome == outcome and house.events(record) == [outcome]


def test_finishing_again_keeps_seed_and_picture_and_changes_only_what_was_named(data: FileStore) -> None:
    with a_house(data) as house:
        first = house.submit(seed=5)
        house.outcome(first)
        np.save(data.frames(first.job.id), np.zeros((17, 16, 16, 3), np.uint8))
        again = house.jobs.finish_again(first, {"frames_per_second": 30, "video_quality": "low"}, Client.by_key("a"))
        assert again.job.frames_of == first.job.id
        before, after = first.job.inputs.model_dump(), again.job.inputs.model_dump()
        changed = {name for name in before if before[name] != after[name]}
        assert changed == {"frames_per_second", "video_quality"}
        assert again.job.files == first.job.files and data.picture(again.job.picture).is_file()
        house.outcome(again)
        third = house.jobs.finish_again(again, {"frames_per_second": 60}, Client.by_key("a"))
        assert third.job.frames_of == first.job.id, "the frames are the first job's"
        house.outcome(third)


def test_finishing_again_keeps_the_prompt_out_of_the_file_if_it_was_kept_out_before(data: FileStore) -> None:
    with a_house(data) as house:
        first = house.submit(options=replace(OPTIONS, prompt_in_file=False))
        house.outcome(first)
        np.save(data.frames(first.job.id), np.zeros((17, 16, 16, 3), np.uint8))
        again = house.jobs.finish_again(first, {"video_quality": "low"}, Client.by_key("a"))
        assert not again.job.options.prompt_in_file
        house.outcome(again)


def test_a_prompt_that_is_too_long_is_not_handed_to_the_writer(data: FileStore) -> None:
    with a_house(data) as house:
        with pytest.raises(InputError, match="at most 4,000 characters"):
            asyncio.run(house.jobs.expand("https://example.com/a.png", "x" * 4_001))
        assert asyncio.run(house.jobs.expand("https://example.com/a.png", "x")) == ("x, expanded", "")


def test_finishing_again_needs_frames_and_refuses_what_would_need_a_new_generation(data: FileStore) -> None:
    with a_house(data) as house:
        record = house.submit()
        house.outcome(record)
        with pytest.raises(BackendError, match="not kept"):
            house.jobs.finish_again(record, {}, Client.by_key("a"))
        with pytest.raises(InputError, match="shift cannot be changed"):
            house.jobs.finish_again(record, {"shift": 3.0}, Client.by_key("a"))
        np.save(data.frames(record.job.id), np.zeros((17, 16, 16, 3), np.uint8))
        with pytest.raises(InputError, match="frames_per_second must be"):
            house.jobs.finish_again(record, {"frames_per_second": 1000}, Client.by_key("a"))


def test_two_lanes_of_work_run_at_once_where_the_backend_can(data: FileStore) -> None:
    meeting, backend = threading.Barrier(2, timeout=10), FakeBackend(data)

    def meet(job: Job, stop: threading.Event) -> Iterator[Event]:
        meeting.wait()
        yield from backend.make_clip(job, stop)

    backend.scripts["meet"] = meet
    with a_house(data, backend, concurrency=0) as house:
        records = [house.submit(prompt="meet") for _ in range(2)]
        assert all(isinstance(house.outcome(record), Finished) for record in records)


def test_a_second_attempt_may_begin_before_the_first_ones_thread_has_ended(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, backend = threading.Event(), FakeBackend(data)

    def lost_once(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("sampling")
        if backend.ran.count(job.id) == 1:
            raise LOST
        begun.set()
        yield from backend.make_clip(job, stop)

    backend.scripts["lost once"] = lost_once
    with a_house(data, backend, concurrency=0) as house:
        admit = house.runner._enqueue

        def lingering(record: JobRecord) -> None:
            admit(record)
            if record.attempts:
                begun.wait(timeout=5)

        monkeypatch.setattr(house.runner, "_enqueue", lingering)
        record = house.submit(prompt="lost once")
        assert isinstance(house.outcome(record), Finished) and record.attempts == 2


def test_the_options_travel_with_the_job(data: FileStore) -> None:
    with a_house(data) as house:
        record = house.submit(options=replace(OPTIONS, where="fal_when_needed", prompt_in_file=False))
        job = record.job
        assert job.options == JobOptions("miniature", "fal_when_needed", prompt_in_file=False)


def test_a_host_that_forces_safety_checks_before_a_job_leaves_for_fal(data: FileStore) -> None:
    with a_house(data, checks_fal_jobs=True) as house:
        refused = house.submit(prompt="forbidden", options=replace(OPTIONS, where="fal"))
        outcome = house.outcome(refused)
        assert isinstance(outcome, Failed) and outcome.type == "content_policy_violation"
        assert house.backend.checked == ["forbidden"] and house.fal.ran == []


@pytest.mark.parametrize("type", ["out_of_memory", "quota_exceeded", "engine_unavailable"])
def test_a_job_this_machine_cannot_do_moves_to_fal_if_the_visitor_chose_so_and_says_why(
    data: FileStore, type: str
) -> None:
    backend = FakeBackend(data)
    backend.scripts["large"] = raising(BackendError(type, "Too much for this machine."), then=backend)
    with a_house(data, backend) as house:
        record = house.submit(prompt="large", options=replace(OPTIONS, where="fal_when_needed"))
        outcome = house.outcome(record)
        assert isinstance(outcome, Finished) and house.fal.ran == [record.job.id]
        assert outcome.result.notes == ("Ran on fal, because this machine could not: Too much for this machine.",)


def test_a_refused_prompt_never_moves_to_fal(data: FileStore) -> None:
    backend = FakeBackend(data)
    backend.scripts["bad"] = raising(InputError("prompt", "content_policy_violation", "No."), then=backend)
    with a_house(data, backend) as house:
        outcome = house.outcome(house.submit(prompt="bad", options=replace(OPTIONS, where="fal_when_needed")))
        assert isinstance(outcome, Failed) and house.fal.ran == []


def test_a_logged_in_user_is_one_client_wherever_they_sit() -> None:
    def at(peer: str, user: str | None) -> Client:
        return client_of({}, peer, Settings(), user)

    assert at("1.2.3.4", "ada") == at("5.6.7.8", "ada") != at("1.2.3.4", None)
    assert at("1.2.3.4", None) != at("5.6.7.8", None)


def submissions(*seeds: int, **values: object) -> list[Submission]:
    return [Submission(a_request(seed=seed, **values), OPTIONS) for seed in seeds]


def test_jobs_that_are_accepted_together_share_one_picture_that_is_read_once(data: FileStore) -> None:
    reads: list[str | Path] = []

    async def counting(source: str | Path, use: Callable[[Image.Image], Any]) -> Any:
        reads.append(source)
        return await grey_picture(source, use)

    with a_house(data, read_picture=counting) as house:
        together = [*submissions(1, 2, 3), *submissions(4, image_url="https://example.com/b.png")]
        records = asyncio.run(house.jobs.submit_many(together, Client.by_key("a"), group=Group("sweep", 0, 4)))
        assert reads == ["https://example.com/a.png", "https://example.com/b.png"]
        assert [record.job.inputs.seed for record in records] == [1, 2, 3, 4]
        assert (
            len({record.job.picture for record in records[:3]}) == 1
            and records[3].job.picture != records[0].job.picture
        )
        assert [record.job.group for record in records] == [Group("sweep", place, 4) for place in range(4)]
        assert all(isinstance(house.outcome(record), Finished) for record in records)


def test_the_limits_see_a_group_as_a_whole_and_nothing_of_it_is_kept_when_it_is_too_large(data: FileStore) -> None:
    with a_house(data, limits=replace(NO_FLOOR, waiting_jobs=3)) as house:
        with pytest.raises(BackendError, match="jobs are waiting already"):
            asyncio.run(house.jobs.submit_many(submissions(1, 2, 3, 4), Client.by_key("a")))
        assert not house.store.ids() and list(data.picture("any").parent.iterdir()) == []
        assert len(asyncio.run(house.jobs.submit_many(submissions(1, 2, 3), Client.by_key("a")))) == 3


def test_one_bad_picture_refuses_the_whole_group_and_leaves_no_file(data: FileStore) -> None:
    async def one_is_bad(source: str | Path, use: Callable[[Image.Image], Any]) -> Any:
        if "bad" in str(source):
            raise InputError("image_url", "image_load_error", "The picture cannot be read.")
        return await grey_picture(source, use)

    with a_house(data, read_picture=one_is_bad) as house:
        both = [*submissions(1), *submissions(2, image_url="https://example.com/bad.png")]
        with pytest.raises(InputError):
            asyncio.run(house.jobs.submit_many(both, Client.by_key("a")))
        assert not house.store.ids() and list(data.picture("any").parent.iterdir()) == []


def test_a_shared_picture_goes_with_the_last_job_that_has_it(data: FileStore) -> None:
    with a_house(data) as house:
        first, second = asyncio.run(house.jobs.submit_many(submissions(1, 2), Client.by_key("a")))
        house.outcome(first)
        house.outcome(second)
        tidying = Housekeeping(house.runner, house.store, data, NO_FLOOR)
        tidying._forget(first.job.id)
        assert data.picture(second.job.picture).is_file()
        tidying._forget(second.job.id)
        assert not data.picture(second.job.picture).exists()
