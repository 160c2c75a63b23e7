"""A watcher is told everything, one by one or in batches, and the end at once."""

import asyncio

from tests.support.jobs import a_job
from wan_core.events import Event, Log, Stopped
from wan_core.jobs.record import JobRecord

LONG_S = 3600.0


def test_what_happens_in_quick_succession_comes_as_one_batch_and_the_end_without_delay() -> None:
    record = JobRecord(a_job(), "a", "local", 0.0)
    record.publish(Log("before"))

    async def collect() -> list[list[Event]]:
        batches = []
        async for batch in record.watch_in_batches(LONG_S):
            batches.append(batch)
            if len(batches) == 1:
                loop = asyncio.get_running_loop()
                loop.call_later(0.01, record.publish, Log("one"))
                loop.call_later(0.02, record.publish, Log("two"))
                loop.call_later(0.03, record.mark_over, Stopped())
        return batches

    batches = asyncio.run(asyncio.wait_for(collect(), 30))
    assert batches == [[Log("before")], [Log("one"), Log("two"), Stopped()]]


def test_a_quiet_watcher_gets_an_event_at_once() -> None:
    record = JobRecord(a_job(), "a", "local", 0.0)

    async def first() -> list[Event]:
        watching = record.watch_in_batches(LONG_S)
        asyncio.get_running_loop().call_later(0.01, record.publish, Log("one"))
        return await anext(watching)

    assert asyncio.run(asyncio.wait_for(first(), 30)) == [Log("one")]


def test_an_ended_job_is_one_batch() -> None:
    record = JobRecord(a_job(), "a", "local", 0.0)
    record.publish(Log("one"))
    record.mark_over(Stopped())

    async def collect() -> list[list[Event]]:
        return [batch async for batch in record.watch_in_batches(LONG_S)]

    assert asyncio.run(collect()) == [[Log("one"), Stopped()]]
