"""When another engine will run: its own sampler settings, said in a sentence, with Undo; header and chips follow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_core.profiles import EngineProfile, pool_of
from wan_core.ui import chips
from wan_core.ui.buttons import click_js
from wan_core.ui.controls import Form
from wan_core.ui.errors import as_gradio_error
from wan_core.ui.languages import translate
from wan_core.ui.tuning import Change, Tuned, kept_by_hand, retuned, running_engine

EVERY_PARAMETER = "Every parameter of fal's endpoint."
OWN_MACHINE = "Every parameter of fal's endpoint, on your own machine."
LEFT = "Left as you set it: {fields}. Look whether it suits {engine}."
ON_FAL = "This form runs on fal: {engine}, the model of its endpoint. What it costs stands below Generate."


@dataclass(frozen=True)
class Undo:
    """What the form was before the last change that the page made by itself."""

    values: Mapping[str, Any]
    tuned: Tuned


@dataclass(frozen=True)
class RetuningParts:
    """`tuned` holds a `Tuned`, what the form was set for; `undo` an `Undo` or nothing."""

    tuned: gr.State
    undo: gr.State
    note: gr.HTML
    header: gr.HTML
    chips: gr.HTML


def build_note() -> gr.HTML:
    return gr.HTML(elem_id="retuned", elem_classes="not-in-embed", js_on_load=click_js("undo"))


class Retuning:
    def __init__(self, form: Form, parts: RetuningParts, notices: "Notices") -> None:
        self.parts = parts
        self._form = form
        self._notices = notices

    @property
    def outputs(self) -> list[Component]:
        parts = self.parts
        return [*self._form.inputs, parts.tuned, parts.undo, parts.note, parts.header, parts.chips]

    def follow(self, tuned: Tuned, *values: object) -> dict[Component, Any]:
        """After a change of engine or place: what the visitor has not set by hand suits the engine that will run."""
        with as_gradio_error():
            given = self._form.read(values)
            engine, where = given["engine"], given["where"]
            after, on_fal = running_engine(engine, where), pool_of(where, engine) == "fal"
            shown: dict[Component, Any] = {
                self.parts.header: self._notices.header(after, on_fal=on_fal),
                self.parts.chips: chips.chips(after, where),
            }
            if after.name == tuned.engine:
                return shown
            changes = retuned(tuned, after, given)
            before = {change.field: change.before for change in changes}
            own = kept_by_hand(after, changes, tuned, given)
            return (
                shown
                | self._form.show({change.field: change.after for change in changes})
                | {self.parts.tuned: replace(tuned, engine=after.name), self.parts.undo: Undo(before, tuned)}
                | {self.parts.note: note(after, changes, own, on_fal=on_fal)}
            )

    def take_back(self, undo: Undo | None) -> dict[Component, Any]:
        with as_gradio_error():
            cleared: dict[Component, Any] = {self.parts.undo: None, self.parts.note: ""}
            if undo is None:
                return cleared
            again = {self.parts.tuned: undo.tuned} if "engine" in undo.values else {}
            return cleared | self._form.show(undo.values) | again


def note(after: EngineProfile, changes: list[Change], own: list[str], *, on_fal: bool) -> str:
    """What was changed, with Undo, and what was left; empty if all suits."""
    title = translate(after.title)
    named = translate("{engine} on fal", engine=title) if on_fal else title
    listed = ", ".join(map(str, changes))
    parts = [translate("Set for {engine}: {changes}.", engine=named, changes=listed)] if changes else []
    if own:
        left = translate(
            "Left as you set it: {fields}. Look whether it suits {engine}.", fields=", ".join(own), engine=named
        )
        parts.append(left)
    return sentence(" ".join(parts), with_undo=bool(changes)) if parts else ""


def sentence(text: str, *, with_undo: bool = True) -> str:
    button = f' <button type="button" class="link" data-undo="yes">{translate("Undo")}</button>' if with_undo else ""
    return f'<p class="small note" role="status">{escape(text)}{button}</p>'


class Notices:
    """The head of the page: what it is, and what runs now."""

    def __init__(self, title: str, *, is_own_machine: bool) -> None:
        self._title = title
        self._of = OWN_MACHINE if is_own_machine else EVERY_PARAMETER

    def header(self, engine: EngineProfile, *, on_fal: bool = False) -> str:
        said = translate(ON_FAL, engine=translate(engine.title)) if on_fal else translate(engine.notice)
        notice = f'<p class="notice" id="notice">{escape(said)}</p>' if said else ""
        return (
            f"<h1>{translate(self._title)}</h1><p>{translate('One picture and one sentence become a short video.')} "
            f"{translate(self._of)}</p>{notice}"
        )
