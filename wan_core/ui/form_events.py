"""The events that fill the form: preset, example, clip, address, chip."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
from gradio.components import Component

from wan_core import cutting, prompting
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.events import Where
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService
from wan_core.presets import Preset, presets
from wan_core.profiles import FULL_MODEL, TURBO, Choice, Machine, draws_small, profiles, why_not
from wan_core.ui import chips, end_picture, examples, history, kept_form, picker, saved
from wan_core.ui.buttons import clicked
from wan_core.ui.controls import UPLOAD_BOXES, Form
from wan_core.ui.errors import CLIP_GONE, as_gradio_error
from wan_core.ui.kept_form import KeptForm
from wan_core.ui.languages import translate, translate_made
from wan_core.ui.links import ParsedLink, parse_link
from wan_core.ui.names import title_of
from wan_core.ui.pictures import copy_to_uploads, uploads_folder
from wan_core.ui.retuning import RetuningParts, Undo, sentence
from wan_core.ui.screen import Screen
from wan_core.ui.stills import still
from wan_core.ui.tuning import Tuned, running_engine
from wan_core.ui.visit import Visit

Filled = dict[Component, Any]
CUT_AGAIN = "This clip shows {shown}. Once it is made again, cut it below the player."
LESS: Mapping[str, Mapping[str, Any]] = {
    "retry": {},
    "480p": {"resolution": "480p"},
    "49": {"num_frames": 49},
    "turbo": {"engine": TURBO},
    "fal": {"where": "fal"},
}
"""By the verb of a failed job's button: what to change for another try."""


class FormEvents:
    def __init__(
        self,
        jobs: JobService,
        form: Form,
        presets_row: gr.HTML,
        screen: Screen,
        choice: Choice,
        machine: Machine,
        retuning: RetuningParts,
    ) -> None:
        self._jobs = jobs
        self._form = form
        self._row = presets_row
        self._screen = screen
        self._choice = choice
        self._machine = machine
        self._retuning = retuning

    @property
    def outputs(self) -> list[Component]:
        parts = self._retuning
        return [*self._form.inputs, self._row, parts.tuned, parts.undo, parts.note]

    @property
    def outputs_with_screen(self) -> list[Component]:
        return [*self.outputs, *self._screen.outputs]

    def preset(self, event: gr.EventData, tuned: Tuned, *values: object) -> Filled:
        """Set all that a preset decides; picture, prompt and seed stay. What it replaced is named, with Undo."""
        with as_gradio_error():
            preset = picker.chosen_preset(event, self._choice.profile, self._machine)
            if preset is None:
                return {self._row: gr.skip()}
            given = self._form.read(values)
            return self._preset(preset, given["where"]) | self._replaced(preset, tuned, given)

    def example(self, event: gr.EventData, where: Where) -> Filled:
        with as_gradio_error():
            example = examples.chosen_example(event)
            if example is None:
                return {self._row: gr.skip()}
            own = {
                "picture": example.path and copy_to_uploads(example.path),
                "image_url": example.image_url,
                **end_picture.NONE,
            }
            small = draws_small(self._choice.profile, where)
            preset = presets()[self._choice.profile.opening_preset if small else example.preset]
            return self._preset(preset, where) | self._form.show(own | {"prompt": example.prompt})

    def clip(self, visit: object, event: gr.EventData) -> Filled:
        """Show a clip of the history and its settings."""
        with as_gradio_error():
            chosen = Visit.of(visit).with_shown_clip(history.chosen_clip(event))
            record = chosen.record(self._jobs)
            if record is None:
                raise gr.Error(translate(CLIP_GONE), print_exception=False)
            return self._settings_of(record) | self._screen.clip(self._jobs, chosen)

    def use_frame(self, visit: object, shown: object) -> Filled:
        """Make frame `shown` of the clip on show the start picture."""
        with as_gradio_error():
            seen = Visit.of(visit)
            record = seen.record(self._jobs)
            if record is None or not isinstance(shown, int | float):
                raise gr.Error(translate(CLIP_GONE), print_exception=False)
            picture = still(self._jobs, record, int(shown))
            gr.Info(translate("Frame {n} of the clip is the start picture now.", n=int(shown) + 1))
            return self._form.show({"picture": str(picture), "image_url": ""})

    def restore_settings(self, event: gr.EventData, where: Where) -> Filled:
        """Set the form as it was for a saved clip, except where it ran."""
        with as_gradio_error():
            if saved.has_axes_alone(event):
                return {self._row: gr.skip()}
            kept = saved.recipe_in(event)
            if moved := saved.changes(event, kept):
                gr.Warning(moved)
            if shown := cutting.words(kept.cut, kept.values.get("num_frames", IMAGE_TO_VIDEO.defaults["num_frames"])):
                gr.Info(translate(CUT_AGAIN, shown=translate_made(shown)))
            picture = end_picture.NONE | ({"picture": None} if "image_url" in kept.values else {})
            detail = {} if kept.picture_detail is None else {"picture_detail": kept.picture_detail}
            fields = {**picture, **kept.values, **detail, "engine": self._runnable(kept.engine)}
            return self._fill(fields, None, where)

    def address(self, request: gr.Request, visit: object, kept: object) -> Filled:
        """The form as this tab kept it for a reload, else the settings in the address, else those kept from before.

        Without any, those of the last job. And this visit's clips.
        """
        with as_gradio_error():
            seen, form = Visit.of(visit), kept_form.from_text(kept, uploads_folder())
            query = dict(parse_qsl(form.query.lstrip("?"))) or dict(request.query_params)
            again = self._kept(form)
            asked = (again if form.is_reload else {}) or self._from_address(query) or again or self._last_settings(seen)
            return asked | self._screen.clip(self._jobs, seen)

    def _kept(self, form: KeptForm) -> Filled:
        if form.values is None:
            return {}
        engine = {"engine": self._runnable(form.values["engine"])}
        return self._fill({**form.values, **engine}, presets().get(form.preset or ""), "local")

    def retry(self, visit: object, event: gr.EventData) -> Filled:
        """The settings of a job that failed, or less of them, for another press."""
        with as_gradio_error():
            verb, _, job_id = clicked(event, "act").partition(":")
            less = LESS.get(verb)
            if less is None:
                return {self._row: gr.skip()}
            record = self._jobs.get(job_id) if job_id in Visit.of(visit).jobs else None
            if record is None:
                raise gr.Error(translate(CLIP_GONE), print_exception=False)
            return self._without_lost_pictures(record) | self._form.show({"seed": "", **less})

    def _without_lost_pictures(self, record: JobRecord) -> Filled:
        """The settings of a job. The picture of one that failed is kept no longer: what the form holds stays."""
        filled = self._settings_of(record)
        for name, file_id in record.job.files.items():
            if not self._jobs.files.picture(file_id).is_file():
                lost = [UPLOAD_BOXES[name]] + ([] if getattr(record.job.inputs, name) else [name])
                for each in lost:
                    filled.pop(self._form[each], None)
        return filled

    def detail_switch(self, engine: str, where: Where) -> Any:
        """Visible only where frames are enlarged."""
        return gr.update(visible=draws_small(profiles()[self._runnable(engine)], where))

    def end_ignored(self, engine: str, where: Where) -> Any:
        """Visible only where the engine takes no end picture."""
        return end_picture.show_ignored(profiles()[self._runnable(engine)], where)

    def chip(self, prompt: str, event: gr.EventData) -> str:
        with as_gradio_error():
            chip = chips.chosen_chip(event)
            return prompting.add_chip(prompt or "", chip) if chip else prompt

    def _from_address(self, query: Mapping[str, str]) -> Filled:
        wanted = parse_link(query)
        if wanted == ParsedLink({}, None, None):
            return {}
        page = {"engine": self._runnable(wanted.engine), "picture_detail": wanted.picture_detail}
        return self._fill({**wanted.values, **page}, wanted.preset, "local")

    def _last_settings(self, visit: Visit) -> Filled:
        """The settings of the followed job, else of the clip on show."""
        record = self._jobs.get(visit.job or visit.clip or "")
        return self._settings_of(record) if record else {}

    def _preset(self, preset: Preset, where: Where) -> Filled:
        """A preset for an engine that fal does not have runs on this machine."""
        page: dict[str, Any] = {"engine": self._runnable(preset.engine), "picture_detail": preset.picture_detail}
        if preset.engine not in (None, FULL_MODEL):
            page["where"] = "local"
        return self._fill({**preset.complete, **page}, preset, where)

    def _replaced(self, preset: Preset, tuned: Tuned, given: Mapping[str, Any]) -> Filled:
        """What the visitor had changed from the preset before, and is different now."""
        earlier = presets().get(tuned.preset or "")
        own = {name for name in preset.complete if earlier is None or given[name] != earlier.complete[name]}
        lost = [name for name in preset.complete if name in own and given[name] != preset.complete[name]]
        if not lost:
            return {}
        named = ", ".join(f"{title_of(name)} ({short(given[name])})" for name in lost)
        before = {name: given[name] for name in (*preset.complete, "engine", "where", "picture_detail")}
        said = translate("{preset} took the place of your own {fields}.", preset=translate(preset.title), fields=named)
        return {self._retuning.undo: Undo(before, tuned), self._retuning.note: sentence(said)}

    def _fill(self, fields: Mapping[str, Any], preset: Preset | None, where: Where) -> Filled:
        """Set these inputs; `where` is the place if they name none."""
        engine = running_engine(fields["engine"], fields.get("where", where))
        parts, name = self._retuning, preset.name if preset else None
        return self._form.show(fields) | {
            self._row: picker.picker(name, self._choice.profile, self._machine),
            parts.tuned: Tuned(engine.name, name),
            parts.undo: None,
            parts.note: "",
        }

    def _settings_of(self, record: JobRecord) -> Filled:
        """Every input as it was for the job, with its stored picture."""
        job, options = record.job, record.job.options
        pictures = {UPLOAD_BOXES[name]: self._picture(picture) for name, picture in job.files.items()}
        page = {"end_picture": None, **pictures, "engine": self._runnable(options.engine), "where": options.where}
        switches = {"prompt_in_file": options.prompt_in_file, "picture_detail": options.picture_detail}
        fields = job.inputs.model_dump() | page | switches
        return self._fill(fields, None, options.where)

    def _picture(self, file_id: str) -> str | None:
        path = self._jobs.files.picture(file_id)
        return copy_to_uploads(path) if path.is_file() else None

    def _runnable(self, engine: str | None) -> str:
        """`engine` if it can run here, else the machine's default."""
        profile = profiles().get(engine or "")
        if profile is None or why_not(profile, self._machine):
            return self._choice.profile.name
        return profile.name


def short(value: object) -> str:
    """A value in a sentence."""
    text = str(value)
    return f"“{text[:20]}…”" if len(text) > 24 else text or translate("empty")
