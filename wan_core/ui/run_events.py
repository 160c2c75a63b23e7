"""The events of a run: submit, watch, cancel, finish again.

Submitting ends once the job has its id. Watching is an event of its own, so that a reload or another tab can resume
it; closing the page does not stop the job.
"""

import base64
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import SecretStr

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError, InputError
from wan_core.events import Event, Finished, JobOptions, Preview
from wan_core.explore.effects import FINISHING_FIELDS
from wan_core.jobs.limits import Client, client_of
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService, Submission
from wan_core.settings import Settings
from wan_core.ui.controls import Form, request_of, uploads_of
from wan_core.ui.errors import as_gradio_error
from wan_core.ui.progress import Progress, panel
from wan_core.ui.screen import Screen
from wan_core.ui.visit import Visit

NO_PICTURE = "Add a picture first: drop one into the box, paste it, or give its web address."
GONE = "This clip is no longer kept here."


class RunEvents:
    def __init__(self, jobs: JobService, settings: Settings, form: Form, screen: Screen) -> None:
        self._jobs = jobs
        self._settings = settings
        self._form = form
        self._screen = screen

    def check(self, visit: object, fal_key: str, *values: object) -> list[dict[str, Any]]:
        """One verdict for each input of `submit`: Gradio shows a fault at its own field."""
        errors = _faults(self._form.read(values))
        judged = [gr.validate(name not in errors, errors.get(name, "")) for name in self._form.names]
        return [gr.validate(True, ""), gr.validate(True, ""), *judged]

    async def submit(self, request: gr.Request, visit: object, fal_key: str, *values: object) -> dict[str, Any]:
        """Accept the form as a job; return the visit that follows it. `fal_key` is for this job alone."""
        with as_gradio_error():
            given = self._form.read(values)
            if not given["picture"] and not str(given["image_url"] or "").strip():
                raise InputError("image_url", "missing", NO_PICTURE)
            own_key = SecretStr(fal_key.strip()) if fal_key and fal_key.strip() else None
            switches = {name: bool(given[name]) for name in ("prompt_in_file", "picture_detail")}
            options = JobOptions(str(given["engine"]), given["where"], **switches)
            submission = Submission(request_of(given), options, uploads_of(given))
            record = await self._jobs.submit(submission, self._client(request), own_key)
            return Visit.of(visit).with_job(record.job.id).plain

    def finish_again(self, request: gr.Request, visit: object, *values: object) -> dict[str, Any]:
        """Interpolate and encode the clip on show with the form's settings."""
        with as_gradio_error():
            seen = Visit.of(visit)
            source = self._jobs.get(seen.clip) if seen.clip else None
            if source is None:
                raise BackendError("frames_not_kept", GONE)
            given = self._form.read(values)
            changes = {name: given[name] for name in FINISHING_FIELDS}
            detail, client = bool(given["picture_detail"]), self._client(request)
            again = self._jobs.finish_again(source, changes, client, picture_detail=detail)
            return seen.with_job(again.job.id).plain

    def seed_of(self, visit: object) -> str:
        seen = Visit.of(visit)
        result = self._jobs.result(self._jobs.get(seen.clip) if seen.clip else None)
        return str(result.seed) if result else ""

    def cancel(self, visit: object) -> None:
        """Ask the followed job to stop; `watch` shows when it has."""
        followed = Visit.of(visit).job
        record = self._jobs.get(followed) if followed else None
        if record is not None:
            self._jobs.cancel(record)

    async def watch(self, visit: object) -> AsyncIterator[dict[Component, Any]]:
        """Show the followed job until it is over; its past events as one update."""
        with as_gradio_error():
            seen = Visit.of(visit)
            record = self._jobs.get(seen.job) if seen.job else None
            if record is None:
                yield self._screen.idle()
                return
            async for shown in self._follow(record, seen):
                yield shown

    async def _follow(self, record: JobRecord, visit: Visit) -> AsyncIterator[dict[Component, Any]]:
        screen, progress, behind = self._screen, Progress(), len(record.events)
        yield screen.busy()
        async for event in self._jobs.watch(record):
            progress.update(event)
            behind -= 1
            if behind <= 0 and not record.is_over:
                yield {screen.status: panel(progress, record), **self._preview(event, record)}
        yield {screen.status: panel(progress, record), **screen.idle(), **self._end(record, visit)}

    def _preview(self, event: Event, record: JobRecord) -> dict[Component, Any]:
        path = self._jobs.files.preview(record.job.id)
        if not isinstance(event, Preview) or not path.is_file():
            return {}
        picture = base64.b64encode(path.read_bytes()).decode()
        return {
            self._screen.preview: f'<img alt="Preview of the frames so far" src="data:image/webp;base64,{picture}">'
        }

    def _end(self, record: JobRecord, visit: Visit) -> dict[Component, Any]:
        """The clip, or a visit that no longer follows the job."""
        if isinstance(record.outcome, Finished):
            return self._screen.clip(self._jobs, visit.with_clip(record.job.id))
        return {self._screen.visit: Visit(None, visit.clip, visit.clips).plain}

    def _client(self, request: gr.Request) -> Client:
        peer = request.client.host if request.client else None
        return client_of(dict(request.headers), peer, self._settings, request.username)


def _faults(values: dict[str, Any]) -> dict[str, str]:
    """Sentences by field; a missing picture is left to `submit`."""
    given = values if values["picture"] or values["image_url"] else values | {"picture": "none yet"}
    try:
        request_of(given)
    except InputError as error:
        return {fault.field: fault.message for fault in (error, *error.others) if fault.field in IMAGE_TO_VIDEO.fields}
    return {}
