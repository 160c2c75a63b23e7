"""A sweep as HTML, written once, and the patches that fill its cells. `player.js` plays it."""

import base64
import json
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wan_core import geometry, recipe
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.events import Failed, Finished, Stage, Step, Stopped
from wan_core.explore.axes import label_of
from wan_core.explore.definition import to_text
from wan_core.explore.numbers import MEASURES, all_numbers
from wan_core.geometry import Size
from wan_core.jobs.record import STAGE_SENTENCES, JobRecord
from wan_core.jobs.sweeps import Sweep, SweepCell, SweepService
from wan_core.ui.errors import CLIP_GONE
from wan_core.ui.languages import translate, translate_made
from wan_core.ui.links import link_query
from wan_core.ui.names import title_of
from wan_core.ui.result import clip_url

ACTIONS = {
    "settings": "Use these settings",
    "promote": "Promote",
    "star": "Star",
    "use-frame": "Use this frame",
    "download": "Download",
    "link": "Copy link",
    "hide": "Hide",
}
POSTER_WIDTH = 240
SCOUTED = "Scout makes each clip with {settings}. It shows which way a knob works, not the same pixels."
STATES = {"queued": "waiting", "running": "running", "done": "done", "failed": "failed", "cancelled": "failed"}


def grid(sweeps: SweepService, sweep: Sweep, *, actions: bool = True) -> str:
    """The whole grid; relative addresses."""
    axes = [
        {"title": translate(title), "labels": [translate(label) for label in labels]} for title, labels in sweep.axes
    ]
    measures = [
        {"name": each.name, "title": translate(each.title), "unit": each.unit, "help": translate(each.help)}
        for each in MEASURES
    ]
    cells = "".join(_cell(sweep, cell, patch(sweeps, cell), actions=actions) for cell in sweep.cells)
    return (
        f'<section class="explore-grid" style="--ratio: {_ratio(sweeps, sweep)}" '
        f'data-sweep="{sweep.id}" data-axes="{_attribute(axes)}" '
        f'data-measures="{_attribute(measures)}" data-definition="{escape(to_text(sweep.definition), quote=True)}">'
        f'<p class="shared small">{_shared(sweep)}</p>{cells}</section>'
    )


def _ratio(sweeps: SweepService, sweep: Sweep) -> str:
    """Of the first cell: nothing moves when its clip comes."""
    sizes = (record.job.size for cell in sweep.cells if (record := sweeps.record(cell)) is not None)
    size = next(sizes, Size(16, 9))
    return f"{size.width} / {size.height}"


def patch(sweeps: SweepService, cell: SweepCell) -> dict[str, Any]:
    """What a cell shows now; see `wanExplore.update`."""
    record = sweeps.record(cell)
    if cell.job is None:
        return {
            "job": "",
            "state": "skipped" if cell.state != "fault" else "failed",
            "status": translate_made(cell.why),
        }
    if record is None:
        return {"job": cell.job, "state": "failed", "status": translate(CLIP_GONE)}
    shown: dict[str, Any] = {"job": cell.job, "state": STATES[record.status], "status": translate_made(_status(record))}
    result = sweeps.jobs.result(record)
    if result is not None:
        clip = sweeps.jobs.files.clip(cell.job)
        numbers = all_numbers(result.numbers, clip, result.stage_seconds)
        shown |= {"clip": clip_url(cell.job), "fps": result.fps, "frames": result.frames, "numbers": numbers}
        frames = sweeps.jobs.files.frames(record.job.frames_of or cell.job)
        return shown | {"poster": poster(frames, result.size)}
    if isinstance(record.outcome, Finished):
        return shown | {"state": "failed", "status": translate(CLIP_GONE)}
    return shown | _preview(sweeps.jobs.files.preview(cell.job), record)


@lru_cache(maxsize=500)
def poster(frames: Path, size: Size) -> str:
    """The first raw frame as a clip of `size` shows it, as a small data URI; empty without frames."""
    try:
        first = np.load(frames, mmap_mode="r")[0]
    except (OSError, ValueError):
        return ""
    stored, small = BytesIO(), Size(POSTER_WIDTH, max(1, round(POSTER_WIDTH * size.height / size.width)))
    geometry.fit(Image.fromarray(np.asarray(first)), small).save(stored, "WEBP", quality=70)
    return _data_uri(stored.getvalue())


def _preview(path: Path, record: JobRecord) -> dict[str, str]:
    if record.status != "running" or not path.is_file():
        return {}
    return {"poster": _data_uri(path.read_bytes())}


def _data_uri(webp: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def _status(record: JobRecord) -> str:
    match record.outcome:
        case Failed(message=message):
            return message
        case Stopped():
            return "Cancelled."
        case Finished():
            return ""
    if record.status == "queued":
        return "Waiting."
    for event in reversed(record.events):
        match event:
            case Step(_, done, total):
                return f"Step {done} of {total}"
            case Stage(name, detail):
                return detail or STAGE_SENTENCES[name]
    return "Waiting to begin."


def _cell(sweep: Sweep, cell: SweepCell, shown: Mapping[str, Any], *, actions: bool) -> str:
    column, row, page = cell.place
    data = {
        "job": shown["job"],
        "column": column,
        "row": row,
        "page": page,
        "state": shown["state"],
        "label": _label(cell),
        "clip": shown.get("clip", ""),
        "poster": shown.get("poster", ""),
        "fps": shown.get("fps", ""),
        "frames": shown.get("frames", ""),
        "settings": json.dumps(_named(cell), ensure_ascii=False),
        "numbers": json.dumps(shown.get("numbers", {})),
    }
    attributes = " ".join(f'data-{name}="{escape(str(value), quote=True)}"' for name, value in data.items())
    buttons = "".join(_button(name, words) for name, words in ACTIONS.items()) if actions else ""
    values = " · ".join(f"{escape(title)} <b>{escape(value)}</b>" for title, value in _named(cell).items())
    return (
        f'<figure class="cell" {attributes}><video muted playsinline preload="none"></video>'
        f"<figcaption>{values or escape(_label(cell))}</figcaption>"
        f'<p class="status">{escape(str(shown["status"]))}</p><div class="actions">{buttons}</div></figure>'
    )


def _button(name: str, words: str) -> str:
    return f'<button type="button" data-action="{name}">{translate(words)}</button>'


def _shared(sweep: Sweep) -> str:
    """What all cells have in common, as far as it differs from fal's defaults, and what Scout changed."""
    defaults = IMAGE_TO_VIDEO.defaults
    said = [
        f"{title_of(name)}: {_shorten(translate(label_of(value)))}"
        for name, value in sweep.shared.items()
        if value not in (defaults.get(name), "", None)
    ]
    changed = {name: sweep.shared[name] for name in sweep.scouted if name in sweep.shared}
    words = [translate("All cells: {settings}.", settings=" · ".join(said)) if said else "", _scouted(changed)]
    return escape(" ".join(filter(None, words)))


def _named(cell: SweepCell) -> dict[str, str]:
    """The cell's values by their titles."""
    return {translate(title): translate(str(value)) for title, value in cell.settings.items()}


def _label(cell: SweepCell) -> str:
    label = cell.label
    for title in cell.settings:
        label = label.replace(title, translate(title))
    return label


def _scouted(changed: Mapping[str, Any]) -> str:
    named = ", ".join(f"{title_of(name)}: {value}" for name, value in changed.items())
    return translate(SCOUTED, settings=named) if changed else ""


def settings_link(record: JobRecord) -> str:
    """The query of a link to a cell's settings; empty where it would be too long."""
    return link_query(recipe.from_job(record.job)) or ""


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79].rstrip()}…"


def _attribute(value: object) -> str:
    return escape(json.dumps(value, ensure_ascii=False), quote=True)
