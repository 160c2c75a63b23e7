"""What a browser's clips and grids are: the facts that `history.js` shows. The ids come from the browser."""

import filecmp
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from wan_core import cutting
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.explore.axes import label_of
from wan_core.files import FileStore
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService
from wan_core.jobs.sweeps import SweepService
from wan_core.profiles import profiles
from wan_core.ui.buttons import clicked
from wan_core.ui.controls import PICTURE_DETAIL
from wan_core.ui.languages import translate, translate_made
from wan_core.ui.names import title_of
from wan_core.ui.result import clip_url

PLACE = '<div class="wan-history"></div>'
HISTORY_JS = """
const ask = items => trigger('submit', {items});
const act = (kind, id) => trigger(kind === 'clip' ? 'click' : 'select', {[kind]: id});
wanExplore.history.show(element.querySelector('.wan-history'), ask, act);
"""
FACTS_JS = "watch('value', () => wanExplore.history.learn(element));"
LONGEST = 40
MOST_ITEMS = 200

Fact = dict[str, Any]


@dataclass(frozen=True)
class HistoryParts:
    """`shelf` is drawn by the browser; `facts` brings it what the server knows."""

    shelf: gr.HTML
    facts: gr.HTML


def build_history() -> HistoryParts:
    shelf = gr.HTML(PLACE, elem_id="strip", elem_classes="not-in-embed", js_on_load=HISTORY_JS)
    return HistoryParts(shelf, gr.HTML(elem_id="history-facts", js_on_load=FACTS_JS))


class History:
    def __init__(self, jobs: JobService, sweeps: SweepService) -> None:
        self._jobs = jobs
        self._sweeps = sweeps

    def facts(self, event: gr.EventData) -> str:
        """One fact for each id that the browser asks for, newest first."""
        asked = getattr(event, "items", None)
        pairs = [(str(each.get("id")), each.get("kind")) for each in _dicts(asked)[:MOST_ITEMS]]
        records = {job_id: self._jobs.get(job_id) for job_id, kind in pairs if kind == "clip"}
        clips = [record for record in records.values() if record is not None and self._jobs.result(record) is not None]
        earlier = dict(zip((record.job.id for record in clips), [*clips[1:], None], strict=False))
        found = [
            self._sweep(each) if kind == "sweep" else self._clip(each, records.get(each), earlier)
            for each, kind in pairs
        ]
        text = escape(json.dumps(found, ensure_ascii=False), quote=True)
        return f'<data data-facts="{text}"></data>'

    def _clip(self, job_id: str, record: JobRecord | None, earlier: dict[str, JobRecord | None]) -> Fact:
        result = self._jobs.result(record)
        if record is None or result is None:
            return {"id": job_id, "expired": True}
        engine, inputs = record.job.options.engine, record.job.inputs
        values = {name: getattr(inputs, name) for name in IMAGE_TO_VIDEO.fields}
        told = {name: value for name, value in values.items() if name not in IMAGE_TO_VIDEO.picture_fields}
        changed = [name for name in told if told[name] != IMAGE_TO_VIDEO.defaults.get(name) and name != "prompt"]
        return {
            "id": job_id,
            "label": " · ".join(differences(record, earlier[job_id], self._jobs.files)),
            "prompt": inputs.prompt,
            "engine": translate(profiles()[engine].title) if engine in profiles() else engine,
            "settings": {_title(name): translate(label_of(value)) for name, value in told.items()},
            "changed": [_title(name) for name in changed],
            "src": clip_url(job_id),
            "fps": result.fps,
            "frames": result.frames,
        }

    def _sweep(self, sweep_id: str) -> Fact:
        sweep = self._sweeps.get(sweep_id)
        if sweep is None:
            return {"id": sweep_id, "expired": True}
        titles = [translate(title) for title, _ in sweep.axes]
        kept = [each for each in sweep.job_ids if self._jobs.result(self._jobs.get(each)) is not None]
        return {
            "id": sweep_id,
            "label": translate("{axes}: {n} clips", axes=" × ".join(titles), n=len(sweep.job_ids)),
            "prompt": str(sweep.shared.get("prompt", "")),
            "changed": titles,
            "src": clip_url(kept[0]) if kept else "",
        }


def chosen_clip(event: gr.EventData) -> str:
    return clicked(event, "clip")


def _dicts(value: object) -> Sequence[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _title(name: str) -> str:
    return title_of(name)


def differences(record: JobRecord, earlier: JobRecord | None, files: FileStore) -> list[str]:
    """The settings that differ from `earlier`, by their titles; for the first clip, its prompt."""
    request = record.job.inputs
    if earlier is None:
        return [_shorten(request.prompt) or translate("No prompt")]
    before = earlier.job.inputs
    said = [
        _difference(name, getattr(request, name))
        for name in IMAGE_TO_VIDEO.fields
        if name not in IMAGE_TO_VIDEO.picture_fields and getattr(request, name) != getattr(before, name)
    ]
    if record.job.options.engine != earlier.job.options.engine and record.job.options.engine in profiles():
        said.append(translate(profiles()[record.job.options.engine].title))
    if record.job.options.picture_detail != earlier.job.options.picture_detail:
        switch = translate("on") if record.job.options.picture_detail else translate("off")
        said.append(f"{translate(PICTURE_DETAIL)}: {switch}")
    if record.job.options.cut != earlier.job.options.cut:
        shown = translate_made(cutting.words(record.job.options.cut, request.num_frames))
        said.append(shown[:1].upper() + shown[1:] or translate("All frames"))
    if not _same_picture(record.job.picture, earlier.job.picture, files):
        said.insert(0, translate("Another picture"))
    if not _same_picture(record.job.end_picture, earlier.job.end_picture, files):
        said.insert(0, translate("Another end picture") if record.job.end_picture else translate("No end picture"))
    return said or [translate("The same settings")]


def _same_picture(one: str | None, other: str | None, files: FileStore) -> bool:
    if one is None or other is None:
        return one is other
    paths = files.picture(one), files.picture(other)
    return one == other or (all(path.is_file() for path in paths) and filecmp.cmp(*paths, shallow=False))


def _difference(name: str, value: Any) -> str:
    title = title_of(name)
    if isinstance(value, bool):
        return f"{title}: {translate('on') if value else translate('off')}"
    return f"{title}: {_shorten(translate(str(value))) or translate('empty')}"


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
