"""The files that the Explore tab hands out: they lie where Gradio serves and sweeps them."""

import csv
import io
import json
import zipfile
from pathlib import Path

from wan_core.errors import BackendError
from wan_core.explore.definition import to_text
from wan_core.explore.exports import Exported, contact_sheet, grid_video
from wan_core.explore.numbers import MEASURES, all_numbers
from wan_core.files import atomic_write
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService
from wan_core.jobs.sweeps import Sweep, SweepService
from wan_core.ui.explore import assets
from wan_core.ui.explore.grid import grid, patch
from wan_core.ui.languages import ENGLISH, speaking
from wan_core.ui.pictures import uploads_folder
from wan_core.ui.result import clip_url
from wan_core.ui.stills import still

NAMES = {"video": "grid.mp4", "sheet": "contact-sheet.png", "csv": "grid.csv", "json": "grid.json", "page": "grid.zip"}
NO_CLIPS = "No clip of this grid is kept any more."


def export(sweeps: SweepService, sweep: Sweep, kind: str) -> Path:
    """Write the export and return its path.

    Raises:
        BackendError: no clip is kept, or the disk is full.
    """
    cells = exported_cells(sweeps, sweep)
    if not cells:
        raise BackendError("frames_not_kept", NO_CLIPS)
    folder = uploads_folder() / "lent" / sweep.id
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"wan-{sweep.id[:8]}-{NAMES[kind]}"
    titles = [title for title, _ in sweep.axes]
    labels = [list(values) for _, values in sweep.axes]
    with speaking(ENGLISH), atomic_write(target) as part:
        match kind:
            case "video":
                grid_video(cells, titles, labels, part)
            case "sheet":
                contact_sheet(cells, titles, labels, part)
            case "csv":
                part.write_text(table_csv(sweeps, sweep), "utf-8")
            case "json":
                part.write_text(table_json(sweeps, sweep), "utf-8")
            case _:
                write_page(sweeps, sweep, part)
    return target


def exported_cells(sweeps: SweepService, sweep: Sweep) -> list[Exported]:
    found = []
    for cell in sweep.cells:
        result = sweeps.jobs.result(sweeps.record(cell))
        if result is not None and cell.job:
            found.append(Exported(cell.place, sweeps.jobs.files.clip(cell.job), result.size, result.fps, result.frames))
    return found


def rows(sweeps: SweepService, sweep: Sweep) -> list[dict[str, object]]:
    """One row a cell: label, state, settings and numbers."""
    found: list[dict[str, object]] = []
    for cell in sweep.cells:
        record = sweeps.record(cell)
        result = sweeps.jobs.result(record)
        row: dict[str, object] = {"label": cell.label, "state": patch(sweeps, cell)["state"], "job": cell.job or ""}
        row |= dict(cell.settings)
        row["seed"] = record.job.inputs.seed if record else ""
        if result is not None and cell.job:
            row |= all_numbers(result.numbers, sweeps.jobs.files.clip(cell.job), result.stage_seconds)
        found.append(row)
    return found


def table_csv(sweeps: SweepService, sweep: Sweep) -> str:
    """The first line is a comment with the sweep's definition, so that it can be read back."""
    titles = [title for title, _ in sweep.axes]
    columns = ["label", "state", "job", *titles, "seed", *(each.name for each in MEASURES)]
    text = io.StringIO()
    text.write(f"# explore={to_text(sweep.definition)}\n".replace("\r", " "))
    writer = csv.DictWriter(text, columns, extrasaction="ignore", restval="")
    writer.writeheader()
    writer.writerows([{name: _harmless(value) for name, value in row.items()} for row in rows(sweeps, sweep)])
    return text.getvalue()


def _harmless(value: object) -> object:
    """A text that a spreadsheet would take for a formula starts with an apostrophe (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def table_json(sweeps: SweepService, sweep: Sweep) -> str:
    plain = {
        "explore": json.loads(to_text(sweep.definition)),
        "shared": sweep.shared,
        "measures": {each.name: each.help for each in MEASURES},
        "cells": rows(sweeps, sweep),
    }
    return json.dumps(plain, ensure_ascii=False, indent=1)


def write_page(sweeps: SweepService, sweep: Sweep, target: Path) -> None:
    """A zip with the clips and one HTML file that plays them, from a disk or any host."""
    html = grid(sweeps, sweep, actions=False)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as pack:
        for job_id in dict.fromkeys(sweep.job_ids):
            clip = sweeps.jobs.files.clip(job_id)
            if clip.is_file():
                html = html.replace(clip_url(job_id), f"clips/{job_id}.mp4")
                pack.write(clip, f"clips/{job_id}.mp4")
        title = " × ".join(title for title, _ in sweep.axes) or "One clip"
        pack.writestr("index.html", assets.exported_page(title, html))
        pack.writestr("grid.json", table_json(sweeps, sweep))


def frame_at(jobs: JobService, record: JobRecord, at_s: float) -> str:
    """The frame that a player shows at a time within the clip, as an uploaded picture.

    Raises:
        BackendError: the clip is not kept.
    """
    result = jobs.result(record)
    if result is None:
        raise BackendError("frames_not_kept", NO_CLIPS)
    return str(still(jobs, record, int(at_s * result.fps + 0.01)))
