"""The owner's fal key: how much of it a day has, who may use it, and the way of a job from the desk to fal."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.fake_backend import FakeBackend
from tests.support.faulty_fal import HASTE, FaultyFal
from tests.support.jobs import NO_FLOOR, House, a_job, a_request, grey_picture
from wan_core.backends.fal import FalBackend
from wan_core.errors import BackendError
from wan_core.events import Event, Failed, Finished, Job, JobOptions, Stage, Stopped
from wan_core.files import FileStore
from wan_core.jobs.budget import DAY_S, FalBudget
from wan_core.jobs.fal_keys import FalKeys
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord
from wan_core.jobs.rows import NewJob
from wan_core.jobs.runner import JobRunner, WorkerPool
from wan_core.jobs.service import JobService, Submission
from wan_core.jobs.store import JobStore
from wan_core.profiles import pool_of
from wan_core.settings import Settings

OWN_KEY = SecretStr("canary-of-a-visitor:fedcba")
ON_FAL = JobOptions("a14b", "fal")
WHEN_NEEDED = JobOptions("a14b", "fal_when_needed")


class Clock:
    """Unix seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(data: FileStore, clock: Clock) -> Iterator[JobStore]:
    store = JobStore(data.database, clock)
    yield store
    store.close()


def a_budget(store: JobStore, *, key: str | None = "owner:key", per_client: bool = True, **limits: float) -> FalBudget:
    return FalBudget(store, Settings(FAL_KEY=key, **limits), per_client=per_client)  # type: ignore[arg-type]


def pay(store: JobStore, budget: FalBudget, client: str = "a", **values: object) -> Job:
    job = a_job(**values)
    store.add(NewJob(job, client, "fal", owner_pays=True))
    budget.reserve(job)
    return job


def refusal(store: JobStore, budget: FalBudget, client: str = "a", **values: object) -> str:
    with pytest.raises(BackendError) as caught:
        pay(store, budget, client, **values)
    assert caught.value.type == "too_many_jobs" and caught.value.retry_after_s
    return caught.value.message


def test_the_owner_pays_so_many_jobs_a_day_and_the_count_survives_a_restart(
    data: FileStore, store: JobStore, clock: Clock
) -> None:
    for _ in range(2):
        pay(store, a_budget(store, fal_daily_jobs=2, per_client=False))
    store.close()
    again = JobStore(data.database, clock)
    budget = a_budget(again, fal_daily_jobs=2, per_client=False)
    assert refusal(again, budget).startswith("This app's key runs at most 2 jobs on fal in 24 hours; they are used up.")
    clock.now += DAY_S + 1
    pay(again, budget)
    again.close()


def test_dollars_are_counted_as_fal_counts_them(store: JobStore) -> None:
    budget = a_budget(store, fal_daily_dollars=0.5025, per_client=False)
    pay(store, budget, num_frames=81, resolution="480p")  # $0.2025
    pay(store, budget, num_frames=81, resolution="480p")
    assert "$0.10 are left and this clip costs $0.20" in refusal(store, budget, num_frames=81, resolution="480p")
    assert store.spending("a", DAY_S).dollars == pytest.approx(0.405)


def test_each_client_has_a_share_and_none_where_only_this_machine_is_served(store: JobStore) -> None:
    shared = a_budget(store, fal_client_daily_jobs=1)
    pay(store, shared, "a")
    pay(store, shared, "b")
    assert refusal(store, shared, "a").startswith("You have run 1 jobs on fal with this app's key")
    pay(store, a_budget(store, fal_client_daily_jobs=1, per_client=False), "a")
    pay(store, a_budget(store, fal_client_daily_jobs=0), "a")


@pytest.mark.parametrize("limit", ["fal_daily_jobs", "fal_daily_dollars"])
def test_nothing_a_day_means_nothing(store: JobStore, limit: str) -> None:
    assert "This app's key" in refusal(store, a_budget(store, **{limit: 0}))


def test_a_job_that_fal_never_took_does_not_count_and_one_it_may_have_taken_does(store: JobStore) -> None:
    budget = a_budget(store, per_client=False)
    for sent in (False, True):
        job = pay(store, budget)
        if sent:
            store.set_remote(job.id, {"submitted_at": "1"})
        store.finish(job.id, Stopped(), [])
    assert store.spending("a", DAY_S).jobs == 1


def test_what_was_paid_for_is_remembered_after_its_job_is_tidied_away(store: JobStore) -> None:
    store.remove(pay(store, a_budget(store)).id)
    assert store.spending("a", DAY_S).jobs == 1


def test_a_job_counts_once_however_often_it_is_asked_about(store: JobStore) -> None:
    budget = a_budget(store, fal_daily_jobs=1)
    job = pay(store, budget)
    budget.reserve(job)
    assert store.spending("a", DAY_S).jobs == 1


def test_blanks_around_a_pasted_key_do_no_harm(store: JobStore) -> None:
    keys, job = FalKeys(store, SecretStr(" owner:key\n")), a_job()
    store.add(NewJob(job, "a", "fal", owner_pays=True))
    assert keys.key_for(job.id) == SecretStr("owner:key")


def test_lent_keys_of_jobs_that_are_over_are_dropped(store: JobStore) -> None:
    keys, over, next_job = FalKeys(store, None), a_job(), a_job()
    for job in (over, next_job):
        store.add(NewJob(job, "a", "local"))
    keys.lend(over.id, OWN_KEY)
    store.finish(over.id, Stopped(), [])
    keys.lend(next_job.id, OWN_KEY)
    assert keys.key_for(over.id) is None and keys.key_for(next_job.id) == OWN_KEY
    assert "canary" not in repr(vars(keys))


def raising(error: BackendError) -> FakeBackend:
    class Failing(FakeBackend):
        def run(self, job: Job) -> Iterator[Event]:
            yield Stage("loading")
            raise error

    return Failing(FileStore(Path("/nowhere")))


@contextmanager
def a_house_with_fal(
    data: FileStore, fal: FaultyFal, engine: str = "a14b", local: FakeBackend | None = None, **settings: object
) -> Iterator[House]:
    """A service with two pools: here, and a fal of our own."""
    store = JobStore(data.database)
    host = Settings(**{"FAL_KEY": "owner:key"} | settings)  # type: ignore[arg-type]
    budget, keys = FalBudget(store, host, per_client=False), FalKeys(store, host.fal_key)
    remote = FalBackend(store, keys, budget, data, NO_FLOOR, hosts=fal.hosts, fetcher=fal.fetcher(), timeouts=HASTE)
    here = local or FakeBackend(data)
    runner = JobRunner(store, {"local": WorkerPool(here, 1), "fal": WorkerPool(remote, 4)}, NO_FLOOR, per_client=False)
    jobs = JobService(
        store,
        runner,
        data,
        NO_FLOOR,
        grey_picture,
        lambda where, _: pool_of(where, engine),
        per_client=False,
        budget=budget,
        keys=keys,
    )
    runner.start()
    try:
        yield House(jobs, store, runner, here)
    finally:
        runner.close()
        store.close()


def submit(house: House, options: JobOptions, fal_key: SecretStr | None = None) -> JobRecord:
    return asyncio.run(house.jobs.submit(Submission(a_request(), options), Client.by_key("a"), fal_key))


def test_a_job_for_fal_runs_there_from_the_desk_on(data: FileStore, fal: FaultyFal) -> None:
    with a_house_with_fal(data, fal) as house:
        outcome = house.outcome(submit(house, ON_FAL))
        assert isinstance(outcome, Finished) and outcome.result.fal_url == f"{fal.base}/clip.mp4"
        assert house.backend.ran == [] and fal.submissions == 1
        assert house.store.spending("any", DAY_S).jobs == 1


def test_a_job_moves_to_fal_when_this_machine_cannot_and_says_why(data: FileStore, fal: FaultyFal) -> None:
    local = raising(BackendError("out_of_memory", "The card is too small."))
    with a_house_with_fal(data, fal, local=local) as house:
        outcome = house.outcome(submit(house, WHEN_NEEDED))
        assert isinstance(outcome, Finished)
        assert outcome.result.notes == ("Ran on fal, because this machine could not: The card is too small.",)
        assert (fal.submissions, house.store.spending("any", DAY_S).jobs) == (1, 1)


def test_a_job_that_moves_to_fal_is_held_to_the_limits_as_well(data: FileStore, fal: FaultyFal) -> None:
    local = raising(BackendError("out_of_memory", "The card is too small."))
    with a_house_with_fal(data, fal, local=local, fal_daily_jobs=0) as house:
        outcome = house.outcome(submit(house, WHEN_NEEDED))
        assert isinstance(outcome, Failed) and outcome.type == "too_many_jobs"
        assert fal.submissions == 0


def test_where_the_miniature_is_all_there_is_a_job_goes_to_fal_at_once(data: FileStore, fal: FaultyFal) -> None:
    with a_house_with_fal(data, fal, engine="miniature") as house:
        outcome = house.outcome(submit(house, JobOptions("miniature", "fal_when_needed")))
        assert isinstance(outcome, Finished) and "would have been the miniature" in outcome.result.notes[0]
        assert house.backend.ran == []


def test_a_job_that_runs_here_costs_nothing_at_fal(data: FileStore, fal: FaultyFal) -> None:
    with a_house_with_fal(data, fal, fal_daily_jobs=0) as house:
        assert isinstance(house.outcome(submit(house, WHEN_NEEDED)), Finished)
        assert (fal.submissions, house.store.spending("any", DAY_S).jobs) == (0, 0)


def test_what_is_beyond_the_limits_is_refused_at_the_desk_and_leaves_nothing(data: FileStore, fal: FaultyFal) -> None:
    with a_house_with_fal(data, fal, fal_daily_jobs=0) as house:
        with pytest.raises(BackendError, match="at most 0 jobs"):
            submit(house, ON_FAL)
        assert not house.store.ids() and list(data.picture("any").parent.iterdir()) == []


def test_two_jobs_at_once_do_not_slip_through_a_limit_of_one(data: FileStore, fal: FaultyFal) -> None:
    async def both(house: House) -> list[object]:
        two = [house.jobs.submit(Submission(a_request(), ON_FAL), Client.by_key("a")) for _ in range(2)]
        return list(await asyncio.gather(*two, return_exceptions=True))

    with a_house_with_fal(data, fal, fal_daily_jobs=1) as house:
        kinds = sorted(type(answer).__name__ for answer in asyncio.run(both(house)))
        assert kinds == ["BackendError", "JobRecord"]
        assert len(house.store.ids()) == 1 and len(list(data.picture("any").parent.iterdir())) == 1


def test_a_visitors_own_key_needs_no_limit_and_no_owner(data: FileStore, fal: FaultyFal) -> None:
    with a_house_with_fal(data, fal, FAL_KEY=None) as house:
        with pytest.raises(BackendError, match="has no fal key"):
            submit(house, ON_FAL)
        record = submit(house, ON_FAL, OWN_KEY)
        assert isinstance(house.outcome(record), Finished)
        assert fal.keys["submit"] == f"Key {OWN_KEY.get_secret_value()}"
        assert house.store.spending("any", DAY_S).jobs == 0
    assert all(b"canary" not in path.read_bytes() for path in data.root.rglob("*") if path.is_file())


def test_a_cancelled_job_is_cancelled_at_fal(data: FileStore, fal: FaultyFal) -> None:
    fal.life = ({"status": "IN_PROGRESS", "logs": []},)
    with a_house_with_fal(data, fal) as house:
        record = submit(house, ON_FAL)
        house.wait_until_running(record)
        house.jobs.cancel(record)
        assert isinstance(house.outcome(record), Stopped)
        assert fal.cancels == fal.submissions
