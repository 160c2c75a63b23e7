"""The events of a run: submit, watch, cancel, finish again.

Submitting ends once the job has its id. Watching is an event of its own, so that a reload or another tab can resume
it; closing the page does not stop the job.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import SecretStr

from wan_core import cutting
from wan_core.errors import BackendError, InputError
from wan_core.estimator import Estimator
from wan_core.events import Event, Failed, Finished, JobOptions, Preview
from wan_core.explore.effects import FINISHING_FIELDS
from wan_core.jobs.limits import Client, client_of
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService, Submission
from wan_core.profiles import profiles
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings
from wan_core.ui import cut_tools, faults
from wan_core.ui.buttons import clicked
from wan_core.ui.controls import Form, request_of, uploads_of
from wan_core.ui.errors import CLIP_GONE, as_gradio_error
from wan_core.ui.following import Watchers
from wan_core.ui.languages import translate
from wan_core.ui.picture_check import reading
from wan_core.ui.presses import Presses
from wan_core.ui.progress import Progress, panels
from wan_core.ui.screen import Screen
from wan_core.ui.visit import Visit

NO_PICTURE = "Add a picture first: drop one into the box, paste it, or give its web address."
AT_ONCE_S = 0.4  # what feels like an answer to a press
LULL_S = 0.25  # without a press
LONGEST_WAIT_S = 1.0  # for a lull
UPDATE_S = 0.25  # an update goes to every page that watches


class RunEvents:
    """`faults` is the place at the button that lists what cannot be used. `fal_is_paid`: by this server's key."""

    def __init__(
        self,
        jobs: JobService,
        settings: Settings,
        form: Form,
        screen: Screen,
        faults: gr.HTML,
        estimator: Estimator | None = None,
        *,
        fal_is_paid: bool = False,
    ) -> None:
        self._jobs = jobs
        self._settings = settings
        self._form = form
        self._screen = screen
        self._faults = faults
        self._estimator = estimator
        self._fal_is_paid = fal_is_paid
        self._submitting: set[asyncio.Future[Any]] = set()
        self._pressed_at = 0.0
        self._turn = asyncio.Lock()
        self._presses = Presses()
        self._watchers = Watchers()

    async def press(self, request: gr.Request, *values: Any) -> AsyncIterator[dict[Component, Any]]:
        """`submit`; says that the picture is being read if that takes a while, and at once while others press too."""
        is_alone = not self._submitting or not self._is_complete(values)
        self._pressed_at = time.monotonic()
        start = self.submit if is_alone else self._submit_in_a_lull
        submitting = asyncio.ensure_future(start(request, *values))
        self._submitting.add(submitting)
        submitting.add_done_callback(self._submitting.discard)
        submitting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # who pressed may have left
        await asyncio.wait([submitting], timeout=AT_ONCE_S if is_alone else 0)
        is_late = not submitting.done()
        if is_late:
            yield {self._faults: reading()}
        try:
            yield await submitting
        except gr.Error:
            if is_late:
                yield {self._faults: ""}
            raise

    async def _submit_in_a_lull(self, request: gr.Request, *values: Any) -> dict[Component, Any]:
        """`submit`, once nobody has pressed for a moment: to read pictures earlier would delay the others' answers.

        In the order of the presses.
        """
        latest = time.monotonic() + LONGEST_WAIT_S
        async with self._turn:
            while (wait_s := min(self._pressed_at + LULL_S, latest) - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
        return await self.submit(request, *values)

    async def submit(
        self, request: gr.Request, press: object, visit: object, fal_key: str, *values: object
    ) -> dict[Component, Any]:
        """Accept the form as a job, once for each `press`; return the visit that follows it, or the form's faults.

        `fal_key` is for this job alone.
        """
        with as_gradio_error():
            client = self._client(request)
            try:
                record = await self._presses.once(client.id, press, lambda: self._accept(client, fal_key, values))
            except InputError as error:
                return {self._faults: faults.pressed(error)}
            seen = self._without_ended(Visit.of(visit)).with_job(record.job.id)
            return {self._screen.visit: seen.plain, self._faults: ""}

    async def _accept(self, client: Client, fal_key: str, values: Sequence[object]) -> JobRecord:
        given = self._form.read(values)
        request = _complete_request(given)
        own_key = SecretStr(fal_key.strip()) if fal_key and fal_key.strip() else None
        in_file, detail = bool(given["prompt_in_file"]), bool(given["picture_detail"])
        options = JobOptions(str(given["engine"]), given["where"], prompt_in_file=in_file, picture_detail=detail)
        submission = Submission(request, options, uploads_of(given))
        return await self._jobs.submit(submission, client, own_key)

    def _is_complete(self, values: Sequence[Any]) -> bool:
        """Whether these inputs of `submit` have a form that asks for a clip."""
        try:
            _complete_request(self._form.read(values[3:]))
        except InputError:
            return False
        return True

    async def finish_again(self, request: gr.Request, press: object, visit: object, *values: object) -> dict[str, Any]:
        """Cut, interpolate and encode the clip on show again, once for each `press`.

        `values`: what the cut tools show, then the form.
        """
        with as_gradio_error():
            first, last, ending, *form = values
            seen, given, client = Visit.of(visit), self._form.read(form), self._client(request)
            source = seen.record(self._jobs)
            if source is None:
                raise BackendError("frames_not_kept", CLIP_GONE)
            changes = {name: given[name] for name in FINISHING_FIELDS}
            kept: dict[str, Any] = {"picture_detail": bool(given["picture_detail"])}
            kept["cut"] = cut_tools.chosen_cut((first, last, ending), source)
            finish = partial(asyncio.to_thread, self._jobs.finish_again, source, changes, client, **kept)
            record = await self._presses.once(client.id, press, finish)
            return self._without_ended(seen).with_job(record.job.id).plain

    def kept_frame(self, visit: object, shown: object) -> Any:
        """The number, among the kept frames, of frame `shown` of the clip on show."""
        seen = Visit.of(visit)
        record = seen.record(self._jobs)
        result = self._jobs.result(record)
        if record is None or result is None or not isinstance(shown, int | float):
            return gr.skip()
        within = min(max(0, int(shown)), result.frames - 1)
        return cutting.kept_frame(record.job.inputs, record.job.options.cut, within)[0]

    def seed_of(self, visit: object) -> str:
        seen = Visit.of(visit)
        result = self._jobs.result(seen.record(self._jobs))
        return str(result.seed) if result else ""

    def cancel(self, visit: object) -> None:
        """Ask the followed jobs to stop; `watch` shows when they have."""
        for record in self._followed(Visit.of(visit)):
            self._jobs.cancel(record)

    def act(self, visit: object, event: gr.EventData) -> dict[Component, Any]:
        """A button of a job's panel: stop it, or put the panel of a failed one away. Another try is `retry`'s."""
        verb, _, job_id = clicked(event, "act").partition(":")
        seen = Visit.of(visit)
        record = self._jobs.get(job_id) if job_id in seen.jobs else None
        if record is not None and verb == "cancel":
            self._jobs.cancel(record)
        if record is not None and verb == "dismiss":
            return {self._screen.visit: seen.without(job_id).plain}
        return {self._screen.visit: gr.skip()}

    async def watch(self, visit: object, request: gr.Request | None = None) -> AsyncIterator[dict[Component, Any]]:
        """Show the followed jobs until they are over; their past events as one update."""
        with as_gradio_error():
            seen = Visit.of(visit)
            records = self._followed(seen)
            if not records:
                yield {self._screen.status: "", **self._screen.idle()}
                return
            async for shown in self._follow(records, seen, getattr(request, "session_hash", None) or ""):
                yield shown

    async def _follow(
        self, records: list[JobRecord], visit: Visit, session: str
    ) -> AsyncIterator[dict[Component, Any]]:
        screen, progress = (
            self._screen,
            {record.job.id: Progress(expected=self._expected(record)) for record in records},
        )
        busy = screen.busy(sum(not record.is_over for record in records))
        if not any(record.events for record in records):
            yield busy
        async for record, events in self._watchers.batches(session, self._jobs, records, UPDATE_S):
            for event in events:
                progress[record.job.id].update(event)
            shown = self._preview(events, record)
            if record.outcome in events:
                visit, shown = self._end(record, visit)
                running = sum(not each.is_over for each in records)
                busy = screen.busy(running) if running else screen.idle()
            yield {screen.status: panels(progress, records, fal_is_paid=self._fal_is_paid), **busy, **shown}
            busy = {}

    def _expected(self, record: JobRecord) -> Mapping[str, float]:
        """Seconds of each stage here; fal tells its own."""
        if self._estimator is None or record.pool == "fal" or record.job.options.engine not in profiles():
            return {}
        return {str(stage): seconds for stage, seconds in self._estimator.of_job(record.job).stages.items()}

    def _followed(self, visit: Visit) -> list[JobRecord]:
        return [record for record in map(self._jobs.get, visit.jobs) if record is not None]

    def _preview(self, events: Sequence[Event], record: JobRecord) -> dict[Component, Any]:
        if not any(isinstance(event, Preview) for event in events):
            return {}
        path = self._jobs.files.preview(record.job.id)
        if not path.is_file():
            return {}
        picture = base64.b64encode(path.read_bytes()).decode()
        alt = translate("Preview of the frames so far")
        return {self._screen.preview: f'<img alt="{alt}" src="data:image/webp;base64,{picture}">'}

    def _end(self, record: JobRecord, visit: Visit) -> tuple[Visit, dict[Component, Any]]:
        """The clip of a job that is over. One that failed stays in sight until the next press."""
        if isinstance(record.outcome, Failed):
            return visit, {}
        if isinstance(record.outcome, Finished):
            visit = visit.with_shown_clip(record.job.id).without(record.job.id)
            return visit, self._screen.clip(self._jobs, visit)
        visit = visit.without(record.job.id)
        return visit, {self._screen.visit: visit.plain}

    def _without_ended(self, visit: Visit) -> Visit:
        for job_id in visit.jobs:
            record = self._jobs.get(job_id)
            if record is None or record.is_over:
                visit = visit.without(job_id)
        return visit

    def _client(self, request: gr.Request) -> Client:
        peer = request.client.host if request.client else None
        return client_of(dict(request.headers), peer, self._settings, request.username)


def _complete_request(given: dict[str, Any]) -> ImageToVideoInput:
    """The request of the form.

    Raises:
        InputError: the first fault, with a missing picture; the rest in `.others`.
    """
    missing = [] if given["picture"] or str(given["image_url"] or "").strip() else [no_picture()]
    try:
        request = request_of(given | {"image_url": "none yet"} if missing else given)
    except InputError as error:
        missing += [error, *error.others]
    if not missing:
        return request
    first, *others = missing
    first.others = tuple(others)
    raise first


def no_picture() -> InputError:
    return InputError("image_url", "missing", NO_PICTURE)
