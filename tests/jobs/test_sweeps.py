"""Sweeps: one group to limits and turns, nothing made twice, nothing lost."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.fake_backend import FakeBackend, Script, held_until
from tests.support.jobs import MINIMAL, NO_FLOOR, OPTIONS, House, a_house
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError, InputError
from wan_core.events import Event, Failed, Finished, Job, Stage, Stopped
from wan_core.explore.cells import plan
from wan_core.explore.definition import AxisText, Definition
from wan_core.files import FileStore
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord
from wan_core.jobs.sweeps import Sweep, SweepService

BASE = {**IMAGE_TO_VIDEO.defaults, **MINIMAL, "seed": 7}
SHIFTS = Definition((AxisText("shift", "2, 5, 8"),), scout=False)
SQUARE = Definition((AxisText("shift", "2, 5, 8"), AxisText("guidance_scale", "2, 4, 6")), scout=False)


def start(house: House, definition: Definition = SHIFTS, client: str = "a", **base: Any) -> tuple[SweepService, Sweep]:
    sweeps = SweepService(house.jobs, house.jobs.files)
    values = {**BASE, **base}
    made = plan(values, "miniature", definition.read_axes(), scout=definition.scout)
    return sweeps, asyncio.run(sweeps.start(made, definition, values, OPTIONS, Client.by_key(client)))


def records(sweeps: SweepService, sweep: Sweep) -> list[JobRecord]:
    return [record for cell in sweep.cells if (record := sweeps.record(cell)) is not None]


def wait(sweeps: SweepService, sweep: Sweep) -> list[list[int]]:
    async def follow() -> list[list[int]]:
        return [changed async for changed in sweeps.watch(sweep.id)]

    return asyncio.run(follow())


def failing_once(then: FakeBackend, at_shift: float) -> Script:
    failed: list[str] = []

    def script(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("loading")
        if job.inputs.shift == at_shift and not failed:
            failed.append(job.id)
            raise BackendError("out_of_memory", "It does not fit.")
        yield from then.make_clip(job, stop)

    return script


def test_a_sweep_is_made_from_its_centre_and_each_cell_knows_its_place(data: FileStore) -> None:
    with a_house(data) as house:
        sweeps, sweep = start(house, SQUARE)
        seen = wait(sweeps, sweep)
        assert seen[0] == list(range(9)) and {index for each in seen[1:] for index in each} <= set(range(9))
        made = records(sweeps, sweep)
        assert all(isinstance(record.outcome, Finished) for record in made)
        assert [made[index].job.id for index in (4, 0, 2, 6, 8)] == house.backend.ran[:5]
        assert [record.job.group.position for record in made if record.job.group] == list(range(9))
        assert len({record.job.picture for record in made}) == 1


def test_a_group_counts_as_one_waiting_job(data: FileStore) -> None:
    gate = threading.Event()
    with a_house(data, limits=replace(NO_FLOOR, waiting_jobs_per_client=2), per_client=True) as house:
        house.backend.scripts["a walk"] = held_until(gate, house.backend.make_clip)
        house.wait_until_running(house.submit("other"))
        start(house, SQUARE)
        start(house, SHIFTS, num_frames=21)
        with pytest.raises(BackendError, match="2 jobs waiting"):
            house.submit("a")
        gate.set()


def test_three_sweeps_of_three_visitors_take_turns_and_a_single_clip_waits_one_round(data: FileStore) -> None:
    gate = threading.Event()
    with a_house(data, per_client=True) as house:
        house.backend.scripts["a walk"] = held_until(gate, house.backend.make_clip)
        started = [start(house, SQUARE, client) for client in "abc"]
        single = house.submit("d")
        gate.set()
        for sweeps, sweep in started:
            wait(sweeps, sweep)
        house.outcome(single)
        clients = [house.jobs.get(job).client for job in house.backend.ran]  # type: ignore[union-attr]
        assert house.backend.ran.index(single.job.id) <= 4
        rounds = [client for client in clients if client != single.client]
        assert all(len(set(rounds[at : at + 3])) == 3 for at in range(3, 24, 3))


def test_on_one_machine_a_single_clip_goes_before_the_rest_of_a_sweep(data: FileStore) -> None:
    gate = threading.Event()
    with a_house(data) as house:
        house.backend.scripts["a walk"] = held_until(gate, house.backend.make_clip)
        sweeps, sweep = start(house, SQUARE)
        single = house.submit("a")
        gate.set()
        wait(sweeps, sweep)
        assert house.backend.ran.index(single.job.id) <= 1


def test_cells_that_only_finish_differently_come_after_the_frames_they_reuse(data: FileStore) -> None:
    with a_house(data) as house:
        sweeps, sweep = start(house, Definition((AxisText("frames_per_second", "8, 16, 24"),), scout=False))
        wait(sweeps, sweep)
        made = records(sweeps, sweep)
        assert [record.job.frames_of for record in made] == [None, made[0].job.id, made[0].job.id]
        assert house.backend.ran[0] == made[0].job.id


def test_a_cell_that_exists_is_taken_and_one_of_somebody_else_is_not(data: FileStore) -> None:
    with a_house(data) as house:
        single = house.submit("a", seed=7, shift=5)
        house.outcome(single)
        sweeps, sweep = start(house)
        wait(sweeps, sweep)
        assert sweep.cells[1].job == single.job.id and len(house.backend.ran) == 3
        _, other = start(house, client="b")
        assert not set(other.job_ids) & set(sweep.job_ids)


def test_a_failed_cell_shows_its_sentence_and_runs_again_alone(data: FileStore) -> None:
    with a_house(data) as house:
        house.backend.scripts["a walk"] = failing_once(house.backend, 8)
        sweeps, sweep = start(house)
        wait(sweeps, sweep)
        outcomes = [record.outcome for record in records(sweeps, sweep)]
        assert isinstance(outcomes[2], Failed) and outcomes[2].message == "It does not fit."
        again = sweeps.retry(sweep, Client.by_key("a"), None)
        wait(sweeps, again)
        assert [cell.job == old.job for cell, old in zip(again.cells, sweep.cells, strict=True)] == [True, True, False]
        assert all(isinstance(record.outcome, Finished) for record in records(sweeps, again))
        assert sweeps.retry(again, Client.by_key("a"), None) == again


def test_what_a_visitors_key_began_is_not_begun_again_on_the_owners(data: FileStore) -> None:
    key = SecretStr("key-of-the-visitor")
    with a_house(data) as house:
        house.fal.scripts["a walk"] = failing_once(house.fal, 8)
        sweeps, client = SweepService(house.jobs, data), Client.by_key("a")
        made = plan(BASE, "miniature", SHIFTS.read_axes(), scout=False)
        on_fal = replace(OPTIONS, where="fal")
        sweep = asyncio.run(sweeps.start(made, SHIFTS, BASE, on_fal, client, fal_key=key))
        wait(sweeps, sweep)
        with pytest.raises(InputError, match="your own fal key"):
            sweeps.retry(sweep, client, None)
        with pytest.raises(InputError, match="your own fal key"):
            sweeps.promote(sweep, sweep.job_ids[0], client, None)
        again = sweeps.retry(sweep, client, key)
        wait(sweeps, again)
        assert all(isinstance(record.outcome, Finished) for record in records(sweeps, again))
        assert not any(house.store.owner_pays(job) for job in again.job_ids)


def test_cancelling_keeps_what_is_finished(data: FileStore) -> None:
    with a_house(data) as house:
        single = house.submit("a", seed=7, shift=5)
        house.outcome(single)
        gate = threading.Event()
        house.backend.scripts["a walk"] = held_until(gate, house.backend.make_clip)
        sweeps, sweep = start(house)
        sweeps.cancel(sweep)
        gate.set()
        wait(sweeps, sweep)
        assert [type(record.outcome) for record in records(sweeps, sweep)] == [Stopped, Finished, Stopped]


def test_a_sweep_goes_on_after_a_restart(data: FileStore) -> None:
    gate = threading.Event()
    with a_house(data) as house:
        house.backend.scripts["a walk"] = held_until(gate, house.backend.make_clip)
        _, sweep = start(house)
        house.runner._closing = True  # as a process that is killed: nothing is finished any more
        gate.set()
    with a_house(data) as house:
        sweeps = SweepService(house.jobs, data)
        found = sweeps.require(sweep.id)
        wait(sweeps, found)
        assert found == sweep and all(isinstance(record.outcome, Finished) for record in records(sweeps, found))


def test_promoting_a_scouted_cell_makes_it_with_the_full_settings(data: FileStore) -> None:
    with a_house(data) as house:
        sweeps, sweep = start(house, replace(SHIFTS, scout=True), num_frames=81, resolution="720p")
        wait(sweeps, sweep)
        cell = records(sweeps, sweep)[0]
        full = sweeps.promote(sweep, cell.job.id, Client.by_key("a"), None)
        house.outcome(full)
        assert (cell.job.inputs.num_frames, full.job.inputs.num_frames) == (17, 81)
        assert (full.job.inputs.shift, full.job.inputs.seed, full.job.picture) == (2, 7, cell.job.picture)
        assert full.job.size.height == 720


def test_nothing_to_make_is_refused_with_the_reason(data: FileStore) -> None:
    with a_house(data) as house:
        with pytest.raises(InputError, match="nothing to make"):
            start(house, Definition((AxisText("shift", "SKIP: 2"),)))
        with pytest.raises(InputError, match="prompt is empty"):
            start(house, prompt=" ")


@pytest.mark.parametrize("sweep_id", ["", "../../jobs", "x" * 5000, "00000000-0000-0000-0000-000000000000"])
def test_no_other_word_finds_a_sweep(sweep_id: str, data: FileStore) -> None:
    with a_house(data) as house:
        assert SweepService(house.jobs, data).get(sweep_id) is None
