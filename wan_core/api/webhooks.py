"""Tell the end of a job to the address that its submission named, as fal does.

Each waiting webhook is one task on a loop of its own. At least once: a process that dies between a delivery and its
note delivers again.
"""

import asyncio
import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec

from wan_core.api.addressing import Links
from wan_core.api.statuses import result_response
from wan_core.api.webhook_signing import Signer
from wan_core.errors import BackendError
from wan_core.intake import Poster, Refused, Unreachable
from wan_core.jobs.record import JobRecord
from wan_core.jobs.rows import Webhook
from wan_core.jobs.service import JobService
from wan_core.jobs.webhooks import PendingWebhook

log = logging.getLogger(__name__)
P = ParamSpec("P")

WAITS_S = (10, 30, 60, 120, 300, 600, 900, 1_500, 3_600)
"""Seconds before each further attempt: ten within two hours."""
AT_ONCE_PER_USER = 4
STORAGE_WAIT_S = 60


@dataclass(frozen=True)
class DeliveryFault:
    """`is_final`: another attempt would end the same."""

    reason: str
    is_final: bool = False


@dataclass(frozen=True)
class Delivery:
    """`poster` holds the rule of where a message may go; `waits_s`: seconds before each further attempt."""

    poster: Poster = field(default_factory=Poster)
    waits_s: Sequence[float] = WAITS_S


DELIVERY = Delivery()


class Webhooks:
    """`start` and `close` it; what is submitted in between must be told to `follow`."""

    def __init__(self, jobs: JobService, signer: Signer, delivery: Delivery = DELIVERY) -> None:
        self.signer = signer
        self.accepts = delivery.poster.accepts
        self._jobs = jobs
        self._poster = delivery.poster
        self._waits_s = delivery.waits_s
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE_PER_USER))
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take up what an earlier process left, then follow new ones. Call once the jobs run."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="webhooks", daemon=True)
        self._thread.start()
        for pending in self._jobs.webhooks.pending():
            self._spawn(pending)

    def close(self) -> None:
        """What is not delivered waits for the next start."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop = self._thread = None

    def follow(self, job_id: str, webhook: Webhook) -> None:
        """Deliver the webhook of an accepted job."""
        self._spawn(PendingWebhook(job_id, webhook, attempts=0, due_at=time.time(), body=None))

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(self._cancel_all())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def _cancel_all(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, pending: PendingWebhook) -> None:
        loop = self._loop
        if loop is None:  # `start` takes it up
            return

        def begin() -> None:
            task = loop.create_task(self._deliver(pending))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        loop.call_soon_threadsafe(begin)

    async def _deliver(self, pending: PendingWebhook) -> None:
        """Until it has arrived, or is given up."""
        body = pending.body or await self._write_body(pending)
        if body is None:
            log.warning("the webhook of job %s has no job any more", pending.job_id)
        else:
            await self._try_until_over(pending, body.encode())
        await _note(self._jobs.webhooks.remove, pending.job_id)
        if (record := await self._record(pending.job_id)) is not None:
            await asyncio.to_thread(self._jobs.note_answered, record)

    async def _write_body(self, pending: PendingWebhook) -> str | None:
        """The message, once the job is over; `None` if there is no such job."""
        record = await self._record(pending.job_id)
        if record is None:
            return None
        async for _ in self._jobs.watch(record):
            pass
        links = Links(pending.webhook.origin, pending.webhook.queue)
        body = webhook_body(record, links, self._jobs.files.clip(pending.job_id))
        await _note(self._jobs.webhooks.write_body, pending.job_id, body)
        return body

    async def _record(self, job_id: str) -> JobRecord | None:
        while True:
            try:
                return await asyncio.to_thread(self._jobs.get, job_id)
            except BackendError:
                await asyncio.sleep(STORAGE_WAIT_S)

    async def _try_until_over(self, pending: PendingWebhook, body: bytes) -> None:
        attempts, due_at = pending.attempts, pending.due_at
        while True:
            await asyncio.sleep(max(0.0, due_at - time.time()))
            async with self._slots[pending.webhook.user]:
                fault = await self._attempt(pending, body)
            attempts += 1
            if fault is None:
                return
            if fault.is_final or attempts > len(self._waits_s):
                log.warning("the webhook of job %s is given up: %s", pending.job_id, fault.reason)
                return
            due_at = time.time() + self._waits_s[attempts - 1]
            log.info("the webhook of job %s did not arrive (%s) and is sent again", pending.job_id, fault.reason)
            await _note(self._jobs.webhooks.note_attempt, pending.job_id, attempts, due_at)

    async def _attempt(self, pending: PendingWebhook, body: bytes) -> DeliveryFault | None:
        try:
            signed = self.signer.headers(pending.job_id, pending.webhook.user, body)
        except OSError:
            return DeliveryFault("the key that signs it can be neither read nor stored")
        headers = {"Content-Type": "application/json", **signed}
        try:
            status = await self._poster.post(pending.webhook.url, body, headers)
        except Refused:
            return DeliveryFault("its address is not on the public internet", is_final=True)
        except Unreachable:
            return DeliveryFault("no answer")
        if 200 <= status < 300:
            return None
        return DeliveryFault(f"answer {status}", is_final=300 <= status < 400)


def webhook_body(record: JobRecord, links: Links, clip: Path) -> str:
    """The message about a job that is over: its result as the queue answers it."""
    answer = result_response(record, links, clip)
    message = {"request_id": record.job.id, "gateway_request_id": record.job.id, "status": "OK"}
    if answer.status_code != 200:
        message |= {"status": "ERROR", "error": f"Invalid status code: {answer.status_code}"}
    return json.dumps(message | {"payload": json.loads(bytes(answer.body))})


async def _note(write: Callable[P, None], *values: P.args, **named: P.kwargs) -> None:
    """Delivery goes on where nothing can be written down: after a restart it is then repeated."""
    try:
        await asyncio.to_thread(write, *values, **named)
    except BackendError:
        log.warning("the state of a webhook could not be written down")
