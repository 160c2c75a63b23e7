"""Connects the Explore tab with the page's form, screen and events."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.explore.axes import knobs
from wan_core.ui.controls import Form
from wan_core.ui.event_kinds import BROWSER, RUN, UNQUEUED
from wan_core.ui.explore.events import ExploreEvents
from wan_core.ui.explore.tab import ExploreTab
from wan_core.ui.visit import FRESH


def varied(form: Form) -> list[str]:
    """The fields of the form that get a Vary button."""
    return [name for name in knobs() if name in form.names and name not in IMAGE_TO_VIDEO.picture_fields]


def connect(
    tab: ExploreTab,
    events: ExploreEvents,
    form: Form,
    *,
    seen_picture: gr.State,
    visit: gr.JSON,
    fal_key: gr.Textbox,
    watch_clip: Callable[..., Any],
    clip_outputs: list[Any],
    shelf: gr.HTML,
    saved: gr.HTML,
) -> None:
    """`watch_clip` with `clip_outputs` follows a promoted clip; `shelf` opens grids, `saved` brings axes back."""
    refresh: dict[str, Any] = {
        "fn": events.refresh,
        "inputs": [seen_picture, *events.inputs],
        "outputs": events.line_outputs,
        **UNQUEUED,
    }
    changes = [part.change for part in [*tab.axis_inputs, tab.scout]]
    gr.on([*changes, *form.changes, seen_picture.change], trigger_mode="always_last", **refresh)
    for axis in tab.axes:
        axis.knob.input(events.pick, [axis.knob], [axis.values, axis.add, axis.shown], **UNQUEUED)
        axis.add.upload(events.add_pictures, [axis.add, axis.values], [axis.values, axis.add], **RUN)
        axis.values.change(events.chips, [axis.knob, axis.values], [axis.shown], trigger_mode="always_last", **UNQUEUED)
        axis.shown.click(events.toggle, [axis.knob, axis.values], [axis.values], **UNQUEUED)
    axes = [*tab.axis_outputs]
    tab.press.click(events.vary, events.inputs, [*axes, _tabs(events)], **RUN)
    tab.line.click(events.offer, events.inputs, [*axes, tab.line, *form.inputs], **RUN)
    watch: dict[str, Any] = {
        "fn": events.watch,
        "inputs": [tab.sweep],
        "outputs": [tab.patches, tab.cancel, tab.retry, *tab.exports.values()],
        **RUN,
    }
    started = tab.make.click(events.start, [fal_key, tab.confirm, *events.inputs], events.sweep_outputs, **RUN)
    started.success(**watch)
    again = tab.retry.click(events.retry, [fal_key, tab.sweep], events.sweep_outputs[2:], **RUN)
    again.success(**watch)
    tab.cancel.click(events.cancel, [tab.sweep], None, **UNQUEUED)
    acted = tab.grid.click(events.act, [fal_key, tab.sweep, visit], events.action_outputs, **RUN)
    acted.success(watch_clip, [visit], clip_outputs, js=FRESH, trigger_mode="multiple", **RUN)
    opened = shelf.select(events.open, None, [*events.sweep_outputs, _tabs(events)], **RUN)
    opened.success(**watch)
    saved.upload(events.restore_axes, None, [*axes, tab.scout, _tabs(events)], **UNQUEUED)
    tab.link.change(inputs=[tab.link], js="wanVary.copied", **BROWSER)
    for kind, button in tab.exports.items():
        button.click(partial(events.export, kind), [tab.sweep], [tab.file], **{**RUN, "show_progress": "minimal"})
    page = gr.context.Context.root_block
    assert page is not None
    page.load(events.load, [tab.sweep], events.load_outputs, **UNQUEUED).then(**watch).then(**refresh)


def _tabs(events: ExploreEvents) -> Any:
    return events.load_outputs[-1]
