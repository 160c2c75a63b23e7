"""The named endpoint `/explore`, also the MCP tool: a sweep for scripts, its cells as they finish."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr
from gradio import events

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.events import JobOptions
from wan_core.explore.cells import plan
from wan_core.explore.cost import most_cells
from wan_core.explore.definition import from_named_axes
from wan_core.jobs.limits import client_of
from wan_core.jobs.sweeps import Sweep, SweepService
from wan_core.settings import Settings
from wan_core.ui.errors import as_gradio_error
from wan_core.ui.explore.grid import patch

DESCRIPTION = (
    "Make a grid of short videos that differ in one to three settings, to see what each setting does. Returns the "
    "cells as they finish: label, settings, state, the address of the mp4 and measured numbers."
)
Cells = list[dict[str, Any]]


def add_explore_endpoint(sweeps: SweepService, settings: Settings, engine: str) -> None:
    function = explore(sweeps, settings, engine)
    events.api(function, api_name="explore", api_description=DESCRIPTION, concurrency_limit=None)


def explore(sweeps: SweepService, settings: Settings, engine: str) -> Callable[..., AsyncIterator[Cells]]:
    """The function behind the endpoint; it cancels its sweep when the caller hangs up."""

    async def explore(
        image_url: str,
        prompt: str,
        axes: dict[str, Any],
        settings_of_all: dict[str, Any] | None = None,
        scout: bool = True,
        caller: gr.Request = None,  # type: ignore[assignment]
    ) -> AsyncIterator[Cells]:
        with as_gradio_error(written=str):
            definition = from_named_axes(axes, scout=scout)
            base = {**IMAGE_TO_VIDEO.defaults, **_object(settings_of_all), "image_url": image_url, "prompt": prompt}
            base["seed"] = base.get("seed") or 0
            made = plan(base, engine, definition.read_axes(int(base["seed"])), scout=scout)
            most = most_cells(settings, "local", engine)
            if len(made.made) > most:
                raise InputError("axes", "too_long", f"This server makes at most {most} clips in one grid.")
            peer = caller.client.host if caller.client else None
            client = client_of(dict(caller.headers), peer, settings, caller.username)
            sweep = await sweeps.start(made, definition, base, JobOptions(engine), client)
            home = settings.public_url or _home(caller)
            try:
                async for _ in sweeps.watch(sweep.id):
                    yield _cells(sweeps, sweep, home.rstrip("/"))
            finally:
                sweeps.cancel(sweep)
            yield _cells(sweeps, sweep, home.rstrip("/"))

    explore.__doc__ = _documentation()
    return explore


def _home(caller: gr.Request) -> str:
    return str(getattr(caller.request, "base_url", ""))


def _object(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InputError("settings_of_all", "type_error", "settings_of_all must be an object with fal's fields.")
    return given


def _cells(sweeps: SweepService, sweep: Sweep, home: str) -> Cells:
    """`poster` is left out: it is for eyes."""
    found = []
    for cell in sweep.cells:
        shown = patch(sweeps, cell)
        shown.pop("poster", None)
        source = shown.pop("clip", None)
        video = {"video": f"{home}/{source}"} if source else {}
        found.append({"label": cell.label, "place": list(cell.place), "settings": cell.settings, **shown, **video})
    return found


def _documentation() -> str:
    return f"""{DESCRIPTION}

    Args:
        image_url: The picture: an http(s) URL or a small data URI.
        prompt: What moves and how the camera moves.
        axes: What to vary: one to three names with their values, for example {{"guidance_scale": "1, 3.5, 6",
            "shift": [2, 5, 8]}}. Ranges: "2..40 step 6", "1-10 [4]", "seeds: 4".
        settings_of_all: Other fields of the request that all clips share, by fal's names.
        scout: Make each clip with as few frames and pixels as possible.

    Returns:
        The cells of the grid, each time some have changed.
    """
