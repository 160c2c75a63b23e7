"""The strip of this visit's clips, each labelled by what differs from the one before. `page.js` plays them."""

import filecmp
from html import escape
from typing import Any

import gradio as gr

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.files import FileStore
from wan_core.jobs.record import JobRecord
from wan_core.profiles import profiles
from wan_core.timing import timing
from wan_core.ui.buttons import clicked
from wan_core.ui.controls import PICTURE_DETAIL
from wan_core.ui.result import clip_url

STRIP_JS = """
element.addEventListener('click', event => wan.stripClick(element, event, id => trigger('click', {clip: id})));
watch('value', () => wan.strip(element));
"""
LONGEST = 40


def strip(records: list[JobRecord], on_show: str | None, files: FileStore) -> str:
    """Newest first."""
    if not records:
        return ""
    before: list[JobRecord | None] = [None, *records[:-1]]
    pairs = zip(records, before, strict=True)
    cards = [_card(record, differences(record, earlier, files), on_show) for record, earlier in pairs]
    hint = "Click a clip to play it and to get its settings back. Choose two to compare them."
    return (
        f'<h3>This visit\'s clips</h3><p class="small">{hint}</p>'
        f'<div class="strip" role="list">{"".join(reversed(cards))}</div><div class="compare" hidden></div>'
    )


def chosen_clip(event: gr.EventData) -> str:
    return clicked(event, "clip")


def differences(record: JobRecord, earlier: JobRecord | None, files: FileStore) -> list[str]:
    """The settings that differ from `earlier`, by their titles; for the first clip, its prompt."""
    request = record.job.inputs
    if earlier is None:
        return [_shorten(request.prompt) or "No prompt"]
    before = earlier.job.inputs
    said = [
        _difference(name, getattr(request, name))
        for name in IMAGE_TO_VIDEO.fields
        if name not in IMAGE_TO_VIDEO.picture_fields and getattr(request, name) != getattr(before, name)
    ]
    if record.job.options.engine != earlier.job.options.engine and record.job.options.engine in profiles():
        said.append(profiles()[record.job.options.engine].title)
    if record.job.options.picture_detail != earlier.job.options.picture_detail:
        said.append(f"{PICTURE_DETAIL}: {'on' if record.job.options.picture_detail else 'off'}")
    if not _same_picture(record.job.picture, earlier.job.picture, files):
        said.insert(0, "Another picture")
    if not _same_picture(record.job.end_picture, earlier.job.end_picture, files):
        said.insert(0, "Another end picture" if record.job.end_picture else "No end picture")
    return said or ["The same settings"]


def _same_picture(one: str | None, other: str | None, files: FileStore) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or filecmp.cmp(files.picture(one), files.picture(other), shallow=False)


def _difference(name: str, value: Any) -> str:
    title = IMAGE_TO_VIDEO.fields[name].title or name
    if isinstance(value, bool):
        return f"{title}: {'on' if value else 'off'}"
    return f"{title}: {_shorten(str(value)) or 'empty'}"


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"


def _card(record: JobRecord, differing: list[str], on_show: str | None) -> str:
    job_id, label = record.job.id, " · ".join(differing)
    shown = ' aria-current="true"' if job_id == on_show else ""
    words, fps = escape(label), timing(record.job.inputs).fps
    return (
        f'<div class="card" role="listitem"{shown}>'
        f'<button type="button" class="open" data-clip="{job_id}" title="Play this clip and restore its settings">'
        f'<video src="{clip_url(job_id)}#t=0.1" muted playsinline preload="metadata" tabindex="-1"></video>'
        f'<span class="label">{words}</span></button>'
        f'<label class="small"><input type="checkbox" data-compare="{job_id}" data-fps="{fps}" data-label="{words}">'
        " Compare</label>"
        "</div>"
    )
