"""The named endpoint `/image_to_video`, also the MCP tool: the endpoint's inputs by name, with fal's defaults.

The signature comes from the schema. Gradio checks nothing here: `parse` judges the values, `jobs.submit` the picture
(an address, a data URI, or an uploaded file).
"""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import gradio as gr
from gradio import events
from gradio.components.api_component import Api
from gradio.context import Context

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError, InputError
from wan_core.events import Failed, JobOptions
from wan_core.jobs.limits import client_of
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService, Submission
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings
from wan_core.ui.controls import PICTURE_IS_UPLOADED
from wan_core.ui.errors import as_gradio_error
from wan_core.ui.pictures import copy_to_uploads
from wan_core.ui.progress import Progress
from wan_core.ui.tool_answers import mend_tool_calls

Answer = tuple[gr.FileData, str, int, list[str], str]
DESCRIPTION = (
    "Make a short video (mp4) from a picture and a prompt with Wan 2.2: the picture becomes the first frame, the "
    "prompt says what moves and how the camera moves. Only image_url and prompt are needed. Returns the video, the "
    "prompt that was used, the seed, notes on what was not done as asked, and the job's id."
)
PICTURE_HELP = (
    "An http(s) URL of at most 2,048 characters, a small data URI (the whole call may have 256 kB), or (gradio_client) "
    "an uploaded file: handle_file(path)."
)


TELL_S = 5
"""Clients that hear nothing for a minute give up."""
FACTS = ("minimum", "maximum", "enum", "default", "anyOf", "title", "description")


def add_endpoint(jobs: JobService, settings: Settings, engine: str) -> None:
    mend_tool_calls()
    function = image_to_video(jobs, settings, engine)
    events.api(function, api_name="image_to_video", api_description=DESCRIPTION, concurrency_limit=None)
    _describe_inputs()


def _describe_inputs() -> None:
    """Give Gradio's API document and the MCP tool the bounds, words, defaults and help texts of the schema."""
    page = Context.root_block
    assert page is not None, "called while the page is built"
    (endpoint,) = [fn for fn in page.fns.values() if fn.api_name == "image_to_video"]
    for name, component in zip(IMAGE_TO_VIDEO.fields, endpoint.inputs, strict=True):
        assert isinstance(component, Api)
        facts = IMAGE_TO_VIDEO.json_schema["properties"][name]
        component._api_info |= {key: facts[key] for key in FACTS if key in facts}


def image_to_video(jobs: JobService, settings: Settings, engine: str) -> Callable[..., AsyncIterator[Answer]]:
    """The function behind the endpoint: it yields once, and cancels its job when the caller hangs up."""

    async def image_to_video(*given: Any) -> AsyncIterator[Answer]:
        *values, caller = given
        with as_gradio_error(written=str):
            request, uploads = _request(dict(zip(IMAGE_TO_VIDEO.fields, values, strict=True)))
            peer = caller.client.host if caller.client else None
            client = client_of(caller.headers, peer, settings, caller.username)
            record = await jobs.submit(Submission(request, JobOptions(engine), uploads), client)
            try:
                async with aclosing(_headlines(jobs, record)) as headlines:
                    async for done, total, headline in headlines:
                        gr.Progress()((done, total), desc=headline)
            finally:
                jobs.cancel(record)
            result = jobs.result(record)
            if result is None:
                raise _why(record.outcome)
            clip = copy_to_uploads(jobs.files.clip(record.job.id))
        video = gr.FileData(path=clip, mime_type="video/mp4")
        yield video, result.prompt, result.seed, list(result.notes), record.job.id

    image_to_video.__signature__ = _signature()  # type: ignore[attr-defined]
    image_to_video.__annotations__ = {name: p.annotation for name, p in _signature().parameters.items()}
    image_to_video.__doc__ = _documentation()
    return image_to_video


async def _headlines(jobs: JobService, record: JobRecord) -> AsyncGenerator[tuple[int, int | None, str]]:
    """Steps done and in all, and what is going on: with each event, and every TELL_S."""
    progress, watched = Progress(), jobs.watch(record)
    following = asyncio.ensure_future(anext(watched, None))
    try:
        while True:
            done, _ = await asyncio.wait({following}, timeout=TELL_S)
            if done:
                if (event := following.result()) is None:
                    return
                progress.update(event)
                following = asyncio.ensure_future(anext(watched, None))
            yield progress.done, progress.total or None, progress.headline
    finally:
        following.cancel()


def _request(values: dict[str, Any]) -> tuple[ImageToVideoInput, dict[str, Path]]:
    """The request, and the paths of uploaded pictures by field."""
    uploads = {}
    for name in IMAGE_TO_VIDEO.picture_fields:
        if not isinstance(values[name], dict):
            continue
        path = str(values[name].get("path") or "")
        if path.lower().startswith(("http://", "https://")):
            values[name] = path
        else:
            values[name], uploads[name] = PICTURE_IS_UPLOADED, Path(path)
    return IMAGE_TO_VIDEO.parse(values), uploads


def _why(outcome: object) -> InputError | BackendError:
    if isinstance(outcome, Failed) and outcome.field:
        return InputError(outcome.field, outcome.type, outcome.message)
    if isinstance(outcome, Failed):
        return BackendError(outcome.type, outcome.message)
    return BackendError("cancelled", "The job was cancelled.")


def _signature() -> inspect.Signature:
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=IMAGE_TO_VIDEO.defaults.get(name, inspect.Parameter.empty),
            annotation=_bare(field.annotation),
        )
        for name, field in IMAGE_TO_VIDEO.fields.items()
    ]
    caller = inspect.Parameter("caller", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request, default=None)
    return inspect.Signature([*parameters, caller], return_annotation=Answer)


def _bare(annotation: Any) -> Any:
    """A field's type without pydantic's metadata."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if type(None) in get_args(annotation):
        return _bare(get_args(annotation)[0]) | None
    return annotation


def _documentation() -> str:
    lines = [f"    {name}: {_help(name)}" for name in IMAGE_TO_VIDEO.fields]
    returns = "    The mp4 file, the prompt that was used, the seed, notes on what was not done as asked, the job's id."
    return "\n".join([DESCRIPTION, "", "Args:", *lines, "", "Returns:", returns])


def _help(name: str) -> str:
    words = IMAGE_TO_VIDEO.fields[name].description or ""
    return f"{words} {PICTURE_HELP}" if name in IMAGE_TO_VIDEO.picture_fields else words
