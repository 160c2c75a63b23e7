"""The events of a run: submit, watch, cancel, finish again. The page follows a job by its id; the job needs no page.

Submitting ends as soon as the job has its id. Watching is an event of its own, so that a reload, another tab or a
laptop that was closed takes it up again; when the page goes away only the watching ends.
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
from wan_core.jobs.limits import Client, client_of
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import FINISHING_FIELDS, JobService, Submission
from wan_core.settings import Settings
from wan_core.ui.controls import Form, request_of, uploads_of
from wan_core.ui.errors import as_gradio_error
from wan_core.ui.progress import Progress, panel
from wan_core.ui.screen import Screen
from wan_core.ui.visit import Visit

NO_PICTURE = "Add a picture first: drop one into the box, paste it, or give its web address."
GONE = "This clip is no longer kept here."


class RunEvents:
    """Event functions over one form and one screen. `form` and `screen` say what goes in and out, in order."""

    def __init__(self, jobs: JobService, settings: Settings, form: Form, screen: Screen) -> None:
        self._jobs = jobs
        self._settings = settings
        self._form = form
        self._screen = screen

    def check(self, visit: object, fal_key: str, *values: object) -> list[dict[str, Any]]:
        """Judge the form before it is sent: each fault is shown at its own field."""
        errors = _faults(self._form.read(values))
        judged = [gr.validate(name not in errors, errors.get(name, "")) for name in self._form.names]
        return [gr.validate(True, ""), gr.validate(True, ""), *judged]

    async def submit(self, request: gr.Request, visit: object, fal_key: str, *values: object) -> dict[str, Any]:
        """Accept the form as a job; the visit follows it. `fal_key` is the visitor's own, for this job alone."""
        with as_gradio_error():
            given = self._form.read(values)
            if not given["picture"] and not str(given["image_url"] or "").strip():
                raise InputError("image_url", "missing", NO_PICTURE)
            own_key = SecretStr(fal_key.strip()) if fal_key and fal_key.strip() else None
            options = JobOptions(str(given["engine"]), given["where"], bool(given["prompt_in_file"]))
            submission = Submission(request_of(given), options, uploads_of(given))
            record = await self._jobs.submit(submission, self._client(request), own_key)
            return Visit.of(visit).with_job(record.job.id).plain

    def finish_again(self, request: gr.Request, visit: object, *values: object) -> dict[str, Any]:
        """Interpolate and encode the clip on show anew, with the form's settings for both."""
        with as_gradio_error():
            seen = Visit.of(visit)
            source = self._jobs.get(seen.clip) if seen.clip else None
            if source is None:
                raise BackendError("frames_not_kept", GONE)
            given = self._form.read(values)
            changes = {name: given[name] for name in FINISHING_FIELDS}
            return seen.with_job(self._jobs.finish_again(source, changes, self._client(request)).job.id).plain

    def seed_of(self, visit: object) -> str:
        """The seed of the clip on show, for the form."""
        seen = Visit.of(visit)
        result = self._jobs.result(self._jobs.get(seen.clip) if seen.clip else None)
        return str(result.seed) if result else ""

    def cancel(self, visit: object) -> None:
        """Ask the followed job to stop; the watching event tells when it has."""
        followed = Visit.of(visit).job
        record = self._jobs.get(followed) if followed else None
        if record is not None:
            self._jobs.cancel(record)

    async def watch(self, visit: object) -> AsyncIterator[dict[Component, Any]]:
        """Show the followed job until it is over. What happened before is shown at once, the rest as it comes."""
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
        """The clip, if there is one; a job that ended without is not followed again."""
        if isinstance(record.outcome, Finished):
            return self._screen.clip(self._jobs, visit.with_clip(record.job.id))
        return {self._screen.visit: Visit(None, visit.clip, visit.clips).plain}

    def _client(self, request: gr.Request) -> Client:
        peer = request.client.host if request.client else None
        return client_of(dict(request.headers), peer, self._settings, request.username)


def _faults(values: dict[str, Any]) -> dict[str, str]:
    """Sentences by field. A missing picture is told by `submit`, at the picture."""
    given = values if values["picture"] or values["image_url"] else values | {"picture": "none yet"}
    try:
        request_of(given)
    except InputError as error:
        return {fault.field: fault.message for fault in (error, *error.others) if fault.field in IMAGE_TO_VIDEO.fields}
    return {}
