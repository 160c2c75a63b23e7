"""What the page says about the current settings: the outcome, the request as code, and a link."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_core.errors import InputError
from wan_core.estimator import Estimator
from wan_core.events import Where
from wan_core.jobs.service import JobService
from wan_core.presets import presets
from wan_core.profiles import EngineProfile, pool_of, profiles
from wan_core.recipe import Recipe
from wan_core.schema import ImageToVideoInput
from wan_core.ui import faults, kept_form, outcome, picker
from wan_core.ui.controls import Form, draft_of
from wan_core.ui.errors import as_gradio_error
from wan_core.ui.languages import translate
from wan_core.ui.links import link_query
from wan_core.ui.picture_check import SeenPicture, size_of
from wan_core.ui.pictures import picture_source
from wan_core.ui.saved import settings_file
from wan_core.ui.snippets import snippets
from wan_core.ui.tuning import Tuned, changed_fields

OUTCOME_JS = "watch('value', () => wan.crop());"
OUTLOOK_JS = "watch('value', () => wanOutlook.follow(element, () => trigger('submit', {})));"


def build_outcome() -> tuple[gr.HTML, gr.HTML, gr.HTML, gr.Textbox, gr.Textbox]:
    return (
        gr.HTML(elem_id="outcome", js_on_load=OUTCOME_JS),
        gr.HTML(elem_id="outlook", js_on_load=OUTLOOK_JS),
        gr.HTML(elem_id="faults", js_on_load=faults.FAULTS_JS),
        gr.Textbox(label="Link to these settings", elem_id="link", visible="hidden"),
        gr.Textbox(label="These settings as a file", elem_id="settings-file", visible="hidden"),
    )


SHOWN: dict[str, Any] = {"interactive": False, "wrap_lines": True}


def build_snippets() -> tuple[gr.Code, gr.Code, gr.Code]:
    with gr.Accordion(translate("Copy as fal request"), open=False, elem_id="fal-request", elem_classes="not-in-embed"):
        with gr.Tab("Python"):
            python = gr.Code(
                language="python", label="Python", elem_id="snippet-python", interactive=False, wrap_lines=True
            )
        with gr.Tab("JavaScript"):
            javascript = gr.Code(
                language="javascript", label="JavaScript", elem_id="snippet-js", interactive=False, wrap_lines=True
            )
        with gr.Tab("cURL"):
            curl = gr.Code(language="shell", label="cURL", elem_id="snippet-curl", **SHOWN)
    return python, javascript, curl


@dataclass(frozen=True)
class SummaryParts:
    """The components that follow the form. `kept`, `link` and `file` are never shown.

    `link` holds the query of a link to the settings or, where that would be too long, nothing; `file` a settings file
    in its place.
    """

    presets: gr.HTML
    kept: gr.Textbox
    outcome: gr.HTML
    outlook: gr.HTML
    faults: gr.HTML
    link: gr.Textbox
    file: gr.Textbox
    python: gr.Code
    javascript: gr.Code
    curl: gr.Code

    @property
    def outputs(self) -> list[Component]:
        return [getattr(self, field.name) for field in fields(self)]


class SettingsSummary:
    """`jobs`: to say how long the line is, and what is left of the budget for fal."""

    def __init__(
        self,
        form: Form,
        parts: SummaryParts,
        estimator: Estimator,
        machine_default: EngineProfile,
        jobs: JobService | None = None,
    ) -> None:
        self._jobs = jobs
        self.parts = parts
        self._form = form
        self._estimator = estimator
        self._machine_default = machine_default

    def refresh(self, seen: SeenPicture | None, tuned: Tuned, *values: object) -> dict[Component, Any]:
        """`seen` is what the gate said last; it may be about another picture."""
        with as_gradio_error():
            given = self._form.read(values)
            return {self.parts.presets: self._presets(tuned, given)} | self._judged(seen, tuned, given)

    def outlook(self, engine: str, where: Where) -> str:
        """What stands before a press now: other jobs, trouble, or what is left of the budget for fal."""
        if self._jobs is None:
            return ""
        profile = profiles().get(engine, self._machine_default)
        if pool_of(where, profile.name) == "fal":
            return outcome.budget_line(self._jobs.dollars_left)
        outlook = self._jobs.outlook(where, profile.name)
        return outcome.queue_line(outlook.ahead, outlook.wait_s) + outcome.trouble_line(outlook.trouble)

    def _presets(self, tuned: Tuned, given: dict[str, Any]) -> str:
        preset = presets().get(tuned.preset or "")
        changed = changed_fields(preset, given) if preset else []
        return picker.picker(preset.name if preset else None, self._machine_default, self._estimator.machine, changed)

    def _judged(self, seen: SeenPicture | None, tuned: Tuned, given: dict[str, Any]) -> dict[Component, Any]:
        try:
            request = draft_of(given)
        except InputError as error:
            return {self.parts.faults: faults.while_typing(error)}  # the last estimate stays
        profile = profiles().get(str(given["engine"]), self._machine_default)
        size = size_of(seen, picture_source(given["picture"], given["image_url"]))
        where, detail = given["where"], bool(given["picture_detail"])
        line = outcome.outcome(request, size, profile, self._estimator, where, picture_detail=detail)
        shown: dict[Component, Any] = {
            self.parts.outcome: line,
            self.parts.outlook: self.outlook(profile.name, where),
            self.parts.faults: "",
            self.parts.kept: kept_form.to_text(request, given, tuned),
        }
        return shown | self._copies(request, given)

    def _copies(self, request: ImageToVideoInput, given: dict[str, Any]) -> dict[Component, Any]:
        code = snippets(request)
        values = request.model_dump() | {"prompt": given["prompt"] or ""}
        kept = Recipe(values, given["engine"], picture_detail=given["picture_detail"])
        query = link_query(kept)
        return {
            self.parts.link: query or "",
            self.parts.file: "" if query else settings_file(kept),
            self.parts.python: code.python,
            self.parts.javascript: code.javascript,
            self.parts.curl: code.curl,
        }
