"""The components of the Explore tab."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from wan_core.explore.axes import MAX_AXES
from wan_core.explore.definition import OPENING, Definition
from wan_core.ui.explore.axes_editor import AxisEditor, build_axis
from wan_core.ui.languages import translate
from wan_core.ui.visit import STORAGE_SECRET

STORAGE_KEY = "wan-2.2-explore"
INTRO = "Choose what to vary, see the difference. Everything that is not varied comes from the form as it stands."
SCOUT_HELP = (
    "Every clip with as few frames and pixels as possible and the same seed, to see which way a knob works. Promote "
    "makes a clip with the full settings."
)
CANCEL, RETRY = "Cancel all", "Run the failed ones again"
EXPORTS = {
    "video": "Grid as mp4",
    "sheet": "Contact sheet",
    "csv": "CSV",
    "json": "JSON",
    "page": "Web page (zip)",
}
GRID_JS = """
element.addEventListener('wan:cell-action', event => {
  const {action} = event.detail;
  if (['settings', 'promote', 'use-frame', 'link'].includes(action)) trigger('click', event.detail);
});
"""
PATCHES_JS = """
watch('value', () => wanVary.patch(element));
wanVary.patch(element);
"""
OFFERS_JS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-offer]');
  if (button) trigger('click', {offer: button.dataset.offer});
});
"""


@dataclass(frozen=True)
class ExploreTab:
    """`sweep`: the id of the sweep on show, in the browser. `press`: which Vary button was pressed."""

    sweep: gr.BrowserState
    press: gr.HTML
    axes: tuple[AxisEditor, ...]
    scout: gr.Checkbox
    line: gr.HTML
    confirm: gr.Checkbox
    make: gr.Button
    cancel: gr.Button
    retry: gr.Button
    grid: gr.HTML
    patches: gr.HTML
    exports: dict[str, gr.Button]
    file: gr.File
    link: gr.Textbox

    @property
    def axis_inputs(self) -> list[Any]:
        return [part for axis in self.axes for part in (axis.knob, axis.values)]

    @property
    def axis_outputs(self) -> list[Any]:
        return [part for axis in self.axes for part in axis.parts]


def build_press(names: list[str]) -> gr.HTML:
    """Turns the presses of Vary buttons into an event; stands outside of the tab."""
    listen = f"wanVary.listen({names!r}, detail => trigger('click', detail));"
    return gr.HTML(elem_id="vary-press", js_on_load=listen)


def sweep_state() -> gr.BrowserState:
    """The sweep that this browser saw last. Stands outside of the tab: Gradio reads it before it opens tabs."""
    return gr.BrowserState({"sweep": None}, storage_key=STORAGE_KEY, secret=STORAGE_SECRET)


def build_tab(sweep: gr.BrowserState, press: gr.HTML, opening: Definition = OPENING) -> ExploreTab:
    with gr.Column(elem_id="explore-axes", elem_classes="not-in-embed"):
        gr.Markdown(translate(INTRO), elem_classes="small")
        texts = [*opening.axes, *[None] * MAX_AXES]
        axes = tuple(build_axis(number, texts[number]) for number in range(MAX_AXES))
        scout = gr.Checkbox(opening.scout, label=translate("Scout first"), info=translate(SCOUT_HELP), elem_id="scout")
    line = gr.HTML(elem_id="explore-line", elem_classes="not-in-embed", js_on_load=OFFERS_JS)
    confirm = gr.Checkbox(False, label=translate("Yes, spend this on fal"), visible=False, elem_id="explore-confirm")
    with gr.Row(elem_id="explore-buttons", elem_classes="not-in-embed"):
        make = gr.Button(translate("Make the grid"), variant="primary", elem_id="explore-make", scale=3)
        cancel = gr.Button(translate(CANCEL), variant="stop", visible=False, elem_id="explore-cancel", scale=1)
        retry = gr.Button(translate(RETRY), visible=False, elem_id="explore-retry", scale=1)
    grid = gr.HTML(elem_id="explore-grid", js_on_load=GRID_JS)
    patches = gr.HTML(elem_id="explore-patches", js_on_load=PATCHES_JS)
    with gr.Row(elem_id="explore-export", elem_classes="not-in-embed explore-more"):
        exports = {
            kind: gr.Button(translate(words), size="sm", visible=False, min_width=110, elem_id=f"export-{kind}")
            for kind, words in EXPORTS.items()
        }
    file = gr.File(label=translate("Exported file"), visible=False, interactive=False, elem_id="explore-file")
    link = gr.Textbox(label="Link of a cell", visible="hidden", elem_id="explore-link")
    parts = (press, axes, scout, line, confirm, make, cancel, retry, grid, patches, exports, file, link)
    return ExploreTab(sweep, *parts)
