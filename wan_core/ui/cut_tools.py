"""Tools of the clip on show that need no sampling: trim, loop, boomerang, and a frame of it as the start picture."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from wan_core import cutting
from wan_core.cutting import Cut
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService
from wan_core.ui.languages import translate
from wan_core.ui.numbers import NumberSlider

TITLE = "Trim, loop or boomerang (no new sampling)"
HELP = "Loop fades the end into the beginning, so that the clip repeats without a jump. Boomerang plays it back again."
ENDINGS = {"Stop": "stop", "Loop": "loop", "Boomerang": "boomerang"}
ON_SHOW = "(visit, ...rest) => [wanVisit.read(), wanFrames.onShow()]"
"""For events whose inputs are the visit and the frame on show."""


@dataclass(frozen=True)
class CutTools:
    """`number`: the frame on show, which the browser fills in."""

    section: gr.Accordion
    first_frame: gr.Slider
    last_frame: gr.Slider
    ending: gr.Radio
    start_here: gr.Button
    end_here: gr.Button
    make: gr.Button
    number: gr.Number

    @property
    def inputs(self) -> list[Any]:
        return [self.first_frame, self.last_frame, self.ending]

    @property
    def outputs(self) -> list[Any]:
        return [self.section, *self.inputs]

    def show(self, jobs: JobService, record: JobRecord | None) -> dict[Any, Any]:
        """The cut of the clip on show; nothing while its frames are not kept."""
        if record is None or jobs.result(record) is None or not jobs.has_frames(record):
            return {self.section: gr.update(visible=False)}
        cut, kept = record.job.options.cut, record.job.inputs.num_frames
        return {
            self.section: gr.update(visible=True),
            self.first_frame: gr.update(maximum=kept, value=cut.first_frame),
            self.last_frame: gr.update(maximum=kept, value=cut.last_frame or kept),
            self.ending: cut.ending,
        }


def build_cut_tools() -> CutTools:
    with gr.Accordion(
        translate(TITLE), open=False, visible=False, elem_id="cut", elem_classes="not-in-embed"
    ) as section:
        with gr.Row():
            first = NumberSlider(1, 2, value=1, step=1, label=translate("First frame"), elem_id="first_frame")
            last = NumberSlider(1, 2, value=2, step=1, label=translate("Last frame"), elem_id="last_frame")
        with gr.Row():
            start_here = gr.Button(translate("Start at the frame on show"), size="sm", elem_id="start-here")
            end_here = gr.Button(translate("End at the frame on show"), size="sm", elem_id="end-here")
        endings = [(translate(words), ending) for words, ending in ENDINGS.items()]
        ending = gr.Radio(endings, value="stop", label=translate("At the end"), info=translate(HELP), elem_id="ending")
        make = gr.Button(translate("Make this clip"), size="sm", elem_id="make-cut")
        number = gr.Number(0, label="Frame on show", elem_id="frame-on-show", visible="hidden")
    return CutTools(section, first, last, ending, start_here, end_here, make, number)


def chosen_cut(values: tuple[object, object, object], record: JobRecord) -> Cut:
    """The cut that the tools show.

    Raises:
        InputError: a value cannot be used.
    """
    return cutting.parse(dict(zip(cutting.FIELDS, values, strict=True)), record.job.inputs.num_frames)
