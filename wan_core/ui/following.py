"""The events of several jobs as one stream; a newer watcher of the same page ends the older one."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from wan_core.events import Event
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService

News = tuple[JobRecord, list[Event]] | None
"""`None`: the watcher was replaced."""


class Watchers:
    """The one watcher of each page, by the page's session."""

    def __init__(self) -> None:
        self._queues: dict[str, asyncio.Queue[News]] = {}

    async def batches(
        self, session: str, jobs: JobService, records: Sequence[JobRecord], every_s: float
    ) -> AsyncIterator[tuple[JobRecord, list[Event]]]:
        """Past and new events of `records` until all are over, or until the same page watches anew."""
        queue: asyncio.Queue[News] = asyncio.Queue()
        if session in self._queues:
            self._queues[session].put_nowait(None)
        if session:
            self._queues[session] = queue
        feeds = [asyncio.create_task(_feed(queue, jobs, record, every_s)) for record in records]
        left = len(feeds)
        try:
            while left:
                news = await queue.get()
                if news is None:
                    return
                record, events = news
                left -= record.outcome in events
                yield record, events
        finally:
            for feed in feeds:
                feed.cancel()
            if self._queues.get(session) is queue:
                del self._queues[session]


async def _feed(queue: "asyncio.Queue[News]", jobs: JobService, record: JobRecord, every_s: float) -> None:
    async for events in jobs.watch_in_batches(record, every_s):
        queue.put_nowait((record, events))
