"""The components of the right column: status, preview, player and facts."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService
from wan_core.ui import example_clips, result
from wan_core.ui.buttons import click_js
from wan_core.ui.cut_tools import CutTools, build_cut_tools
from wan_core.ui.languages import translate
from wan_core.ui.visit import Visit

STATUS_JS = click_js("act") + "watch('value', () => wanStatus.show(element));"
AGAIN = "Re-encode with the current frame and encoding settings (no new sampling)"


@dataclass(frozen=True)
class Screen:
    """The components that the events of a run write to."""

    visit: gr.JSON
    status: gr.HTML
    preview: gr.HTML
    player: gr.HTML
    facts: gr.HTML
    again: gr.Button
    keep_seed: gr.Button
    generate: gr.Button
    cancel: gr.Button
    use_frame: gr.Button
    cut: CutTools

    @property
    def outputs(self) -> list[Component]:
        own = [getattr(self, field.name) for field in fields(self) if field.name != "cut"]
        return [*own, *self.cut.outputs]

    def busy(self, jobs: int = 1) -> dict[Component, Any]:
        """While `jobs` run or wait. Generate stays usable: another job waits in line."""
        label = translate("Cancel") if jobs == 1 else translate("Cancel all")
        return {self.cancel: gr.update(interactive=True, visible=True, value=label)}

    def idle(self) -> dict[Component, Any]:
        return {
            self.cancel: gr.update(interactive=False, visible=False),
            self.preview: "",
        }

    def clip(self, jobs: JobService, visit: Visit) -> dict[Component, Any]:
        record = visit.record(jobs)
        return {
            self.visit: visit.plain,
            self.player: result.player(jobs, record),
            self.facts: result.facts(jobs, record),
            self.again: _again(jobs, record),
            self.keep_seed: gr.update(visible=jobs.result(record) is not None),
            self.use_frame: gr.update(visible=jobs.result(record) is not None),
            **self.cut.show(jobs, record),
        }


def build_screen(visit: gr.JSON, generate: gr.Button, cancel: gr.Button) -> Screen:
    status = gr.HTML(elem_id="status", js_on_load=STATUS_JS)
    preview = gr.HTML(elem_id="preview")
    player = gr.HTML(result.empty_player(), elem_id="player", js_on_load=result.PLAYER_JS)
    gr.HTML(
        example_clips.shown_while_empty(),
        elem_id="example-clip",
        elem_classes="not-in-embed",
        js_on_load=example_clips.ON_LOAD,
    )
    facts = gr.HTML(elem_id="facts", js_on_load=result.FACTS_JS)
    with gr.Row(elem_id="clip-buttons", elem_classes="not-in-embed"):
        again = gr.Button(translate(AGAIN), visible=False, size="sm", scale=3, elem_id="finish-again")
        keep_seed = gr.Button(
            translate("Use this seed"), visible=False, size="sm", scale=1, min_width=120, elem_id="keep-seed"
        )
        use_frame = gr.Button(
            translate("Use this frame"), visible=False, size="sm", scale=1, min_width=120, elem_id="use-frame"
        )
    cut = build_cut_tools()
    return Screen(visit, status, preview, player, facts, again, keep_seed, generate, cancel, use_frame, cut)


def _again(jobs: JobService, record: JobRecord | None) -> Any:
    """The button for `finish_again`: visible with a clip, usable while its frames are kept."""
    if record is None or jobs.result(record) is None:
        return gr.update(visible=False)
    kept = jobs.has_frames(record)
    return gr.update(visible=True, interactive=kept, value=translate(AGAIN if kept else _why_not_again(record)))


def _why_not_again(record: JobRecord) -> str:
    if record.pool == "fal":
        return "Re-encode: a clip made on fal has no frames here"
    return "Re-encode: the frames of this clip are no longer kept"
