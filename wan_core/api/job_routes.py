"""The routes that make and follow jobs: run, queue, status, stream, result, cancel, finish again.

All of them end at the `JobService`; nothing here waits for a disk, and polls read memory alone.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from wan_core import cutting
from wan_core.api.addressing import Links
from wan_core.api.bodies import json_object
from wan_core.api.handlers import MethodHandlers
from wan_core.api.ignored_fields import ignored_note, refuse_wrapped
from wan_core.api.inline_pictures import submission
from wan_core.api.keys import Keys
from wan_core.api.refusals import (
    CANCELLED,
    ERROR_TYPES,
    ErrorType,
    Fault,
    Refusal,
    http_refusal,
    no_such_request,
    unsupported,
)
from wan_core.api.retention import retention
from wan_core.api.statuses import result_response, status_response, status_text, status_word, submit_body
from wan_core.api.uploads import UploadFolder
from wan_core.api.webhooks import Webhooks
from wan_core.endpoints import ENDPOINTS, Endpoint
from wan_core.events import Job, JobOptions
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord
from wan_core.jobs.rows import Webhook
from wan_core.jobs.service import JobService, Submission
from wan_core.schema import MAX_ADDRESS_CHARS
from wan_core.serving import Serving
from wan_core.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

LONG_RUN_S = 280  # Node gives up on an answer after 300 s, and sends the request again
PING_S = 15
SHORTEST_START_S = 0.1
NOT_ON_RUN = "A synchronous run sends no webhook: its caller waits for the result. Submit it to the queue."
KEYED_ONLY = "This server sends webhooks for callers with an API key only; ask for the status, or follow its stream."
NO_WEBHOOK_ADDRESS = (
    "fal_webhook must be an http(s) address on the public internet, at port 80 or 443, of at most "
    f"{MAX_ADDRESS_CHARS:,} characters and without a user name or password."
)
BAD_WEBHOOK = ErrorType("url_parsing", 422)


class JobRoutes:
    """`options`: how requests over HTTP are carried out; `seconds_of` estimates a job; `enter` prepares its context."""

    def __init__(
        self,
        jobs: JobService,
        settings: Settings,
        keys: Keys,
        uploads: UploadFolder,
        webhooks: Webhooks,
        options: JobOptions,
        seconds_of: Callable[[Job], float],
        enter: Callable[[Request], None],
        serving: Callable[[Endpoint], Serving],
    ) -> None:
        self._jobs = jobs
        self._settings = settings
        self._keys = keys
        self._uploads = uploads
        self._webhooks = webhooks
        self._options = options
        self._seconds_of = seconds_of
        self._enter = enter
        self._serving = serving

    def run_routes(self) -> list[BaseRoute]:
        return [Route(f"/{each.id}", MethodHandlers(POST=partial(self.run, each))) for each in ENDPOINTS.values()]

    def queue_routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = []
        for one in sorted({f"/{endpoint.app}/requests/{{id}}" for endpoint in ENDPOINTS.values()}):
            routes += [
                Route(f"{one}/status", MethodHandlers(GET=self.status)),
                Route(f"{one}/status/stream", MethodHandlers(GET=self.stream)),
                Route(f"{one}/cancel", MethodHandlers(PUT=self.cancel)),
                Route(one, MethodHandlers(GET=self.result)),
            ]
        for endpoint in ENDPOINTS.values():
            routes.append(Route(f"/{endpoint.id}", MethodHandlers(POST=partial(self.submit, endpoint))))
        return routes

    def job_routes(self) -> list[BaseRoute]:
        return [Route("/{id}/finish", MethodHandlers(POST=self.finish))]

    async def submit(self, endpoint: Endpoint, request: Request) -> Response:
        """Accept a job and say where it can be followed."""
        record = await self._accept(endpoint, request)
        return self._submit_response(record, request)

    async def run(self, endpoint: Endpoint, request: Request) -> Response:
        """Accept a job and answer with its result; it is cancelled if its caller leaves."""
        record = await self._accept(endpoint, request, stays=True)
        self._warn_if_long(record)
        await self._wait_until_over_or_left(record, request)
        if not record.is_over:
            await self._jobs.abandon(record)
            return Response(status_code=ERROR_TYPES[CANCELLED].status)
        return _prevent_resending(await self._answer(record, request))

    async def status(self, request: Request) -> Response:
        self._keys.check(request)
        return status_response(self._record(request), self._links(request), with_logs=_wants_logs(request))

    async def stream(self, request: Request) -> Response:
        """Server-sent events: a status object whenever something changed, each with only the new log lines."""
        self._keys.check(request)
        record = self._record(request)
        changes = self._iter_changes(record, self._links(request), with_logs=_wants_logs(request))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no", "x-fal-request-id": record.job.id}
        return StreamingResponse(add_pings(changes), headers=headers, media_type="text/event-stream")

    async def result(self, request: Request) -> Response:
        self._keys.check(request)
        record = self._record(request)
        return self._result(record, request) if request.method == "HEAD" else await self._answer(record, request)

    async def cancel(self, request: Request) -> Response:
        self._keys.check(request)
        record = self._record(request)
        asked = await asyncio.to_thread(self._jobs.cancel, record)
        word, code = ("CANCELLATION_REQUESTED", 202) if asked else ("ALREADY_COMPLETED", 400)
        return JSONResponse({"status": word}, code, {"x-fal-request-id": record.job.id})

    async def finish(self, request: Request) -> Response:
        """A new job from the kept frames of another, with other settings for what comes after the model.

        Beside the fields that may change: `first_frame`, `last_frame` (of the kept ones, from 1) and `ending`.
        """
        client = self._keys.client(request)
        source = self._record(request)
        changes = await json_object(request)
        self._enter(request)
        named = {name: changes.pop(name) for name in cutting.FIELDS if name in changes}
        before, kept = cutting.to_plain(source.job.options.cut), source.job.inputs.num_frames
        cut = cutting.parse(before | named, kept) if named else None
        record = await asyncio.to_thread(partial(self._jobs.finish_again, source, changes, client, cut=cut))
        return self._submit_response(record, request)

    async def _accept(self, endpoint: Endpoint, request: Request, *, stays: bool = False) -> JobRecord:
        """`stays`: the caller waits for the result, so there is no job for one who has left."""
        client = self._keys.client(request)
        webhook = self._webhook(request, client, stays=stays)
        self._refuse_long_queue(request.query_params)
        start_within_s = start_timeout(request.headers)
        serving = self._serving(endpoint)
        is_low = request.headers.get("x-fal-queue-priority", "").strip().lower() == "low"
        kept = retention(request.headers, self._settings.limits)
        options = replace(
            self._options,
            engine=serving.engine,
            low_priority=is_low,
            keep_s=kept.keep_s,
            private=kept.private,
            prompt_in_file=self._options.prompt_in_file and not kept.private,
        )
        with self._jobs.reserve(client) as place:  # before the body is read: what cannot be taken is not waited for
            async with submission(request, endpoint.picture_fields, self._uploads, self._settings.limits) as values:
                refuse_wrapped(endpoint, values)
                inputs = endpoint.parse(values, serving.values)
                self._enter(request)
                ignored = ignored_note(endpoint, values)
                notes = (*serving.notes, *kept.notes, *([ignored] if ignored else []))
                asked = Submission(
                    inputs,
                    options,
                    endpoint=endpoint,
                    start_within_s=start_within_s,
                    notes=notes,
                    webhook=webhook,
                )
                submitting = self._jobs.submit(asked, client, place=place)
                record = await (_unless_left(submitting, request) if stays else submitting)
        if webhook is not None:
            self._webhooks.follow(record.job.id, webhook)
        return record

    def _submit_response(self, record: JobRecord, request: Request) -> Response:
        told = {"gateway_request_id": record.job.id} if "fal_webhook" in request.query_params else {}
        body = submit_body(record, self._links(request)) | told
        return JSONResponse(body, headers={"x-fal-request-id": record.job.id})

    async def _answer(self, record: JobRecord, request: Request) -> Response:
        """The result, with which a private request is forgotten."""
        response = self._result(record, request)
        await asyncio.to_thread(self._jobs.note_answered, record)
        return response

    def _result(self, record: JobRecord, request: Request) -> Response:
        return result_response(record, self._links(request), self._jobs.files.clip(record.job.id))

    def _record(self, request: Request) -> JobRecord:
        record = self._jobs.get(request.path_params["id"])
        if record is None:
            raise no_such_request()
        return record

    def _links(self, request: Request) -> Links:
        return Links.of(request, self._settings)

    def _webhook(self, request: Request, client: Client, *, stays: bool) -> Webhook | None:
        """Where the end of the job is to be told. Raises Refusal."""
        url = request.query_params.get("fal_webhook")
        if url is None:
            return None
        if stays:
            raise unsupported(NOT_ON_RUN, "query", "fal_webhook")
        if self._keys.check(request) is None and not self._settings.listens_on_loopback:
            raise unsupported(KEYED_ONLY, "query", "fal_webhook")
        if len(url) > MAX_ADDRESS_CHARS or not self._webhooks.accepts(url):
            raise Refusal(Fault(BAD_WEBHOOK, NO_WEBHOOK_ADDRESS, ("query", "fal_webhook")))
        links = self._links(request)
        return Webhook(url, links.origin, links.queue, client.id)

    def _refuse_long_queue(self, query: Mapping[str, str]) -> None:
        longest = query.get("fal_max_queue_length")
        if longest is None:
            return
        if not (longest.isascii() and longest.isdigit() and len(longest) < 10):
            raise http_refusal(400, "fal_max_queue_length must be a whole number.")
        waiting = self._jobs.waiting
        if waiting >= int(longest):
            raise http_refusal(429, f"{waiting} requests are waiting, and you asked for fewer.", "queue_full")

    def _warn_if_long(self, record: JobRecord) -> None:
        seconds = self._seconds_of(record.job)
        if seconds > LONG_RUN_S:
            advice = "use the queue, where nobody has to keep a connection open"
            log.warning("job %s was sent to /run and may take %.0f s: %s", record.job.id, seconds, advice)

    async def _wait_until_over_or_left(self, record: JobRecord, request: Request) -> None:
        """Until the job is over or its caller is gone, whichever comes first."""
        tasks = [asyncio.create_task(work) for work in (self._wait_until_over(record), _wait_for_disconnect(request))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _wait_until_over(self, record: JobRecord) -> None:
        async for _ in self._jobs.watch(record):
            pass

    async def _iter_changes(self, record: JobRecord, links: Links, *, with_logs: bool) -> AsyncIterator[str]:
        sent, before = 0, None
        async for _ in self._jobs.watch(record):
            lines, now = record.logs[sent:], (status_word(record), record.position)
            if lines or now != before:
                yield status_text(record, links, lines if with_logs else None)
            sent, before = sent + len(lines), now


def start_timeout(headers: Mapping[str, str]) -> float | None:
    """Seconds within which the request has to begin, if it says so. Raises Refusal."""
    text = headers.get("x-fal-request-timeout")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not SHORTEST_START_S < seconds < 1e9:
        raise http_refusal(400, f"x-fal-request-timeout must be a number of seconds above {SHORTEST_START_S:g}.")
    return seconds


async def add_pings(changes: AsyncIterator[str], every_s: float = PING_S) -> AsyncIterator[str]:
    """`changes` as server-sent events, with a comment line whenever nothing happens for `every_s`."""
    following = asyncio.ensure_future(anext(changes, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=every_s)
            if not done:
                yield ": ping\n\n"
                continue
            if (change := following.result()) is None:
                return
            yield f"data: {change}\n\n"
            following = asyncio.ensure_future(anext(changes, None))
    finally:
        following.cancel()


async def _unless_left(work: Coroutine[Any, Any, T], request: Request) -> T:
    """The result of `work`, which is cancelled if its caller leaves. Raises ClientDisconnect."""
    task, left = asyncio.create_task(work), asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait([task, left], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        left.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    """Until the caller's connection is closed."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _prevent_resending(response: Response) -> Response:
    """A POST that is answered 502-504 is sent again, and the work done twice; not so at the caller's own deadline."""
    if response.status_code in (502, 503, 504) and "x-fal-request-timeout-type" not in response.headers:
        response.status_code = 500
    return response


def _wants_logs(request: Request) -> bool:
    return request.query_params.get("logs", "").lower() in ("1", "true")
