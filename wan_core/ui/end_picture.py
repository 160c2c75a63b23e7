"""The picture that the clip ends on, behind a small fold below the first one. *Loop* ends it where it began."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from wan_core.events import Where
from wan_core.profiles import EngineProfile, pool_of
from wan_core.ui.controls import Form, control
from wan_core.ui.event_kinds import BROWSER
from wan_core.ui.languages import translate
from wan_core.ui.names import in_a_sentence
from wan_core.ui.picture_check import PictureCheck
from wan_core.ui.pictures import upload_box

HELP = "The clip ends on this picture. It is cropped to the frames of the first one."
IGNORED = "The {engine} only knows camera moves: it ignores an end picture."
NONE = {"end_picture": None, "end_image_url": ""}
"""The form without an end picture."""


@dataclass(frozen=True)
class EndPicture:
    """The components that events need. `box` shows what the gate says, `ignored` that the engine takes none."""

    loop: gr.Button
    seen: gr.State
    box: gr.HTML
    ignored: gr.Markdown


def build_end_picture(form: Form, engine: EngineProfile) -> EndPicture:
    with gr.Accordion(translate("End picture"), open=False, elem_id="end", elem_classes="not-in-embed"):
        gr.Markdown(translate(HELP), elem_classes="small")
        ignored = gr.Markdown(**_ignored(engine, "local"), elem_id="end-ignored")
        form.add("end_picture", upload_box("end_picture", translate("End picture")))
        seen, box = gr.State(None), gr.HTML(elem_id="end-picture-check")
        form.add("end_image_url", control("end_image_url", label=translate("… or its web address"), info=None))
        loop = gr.Button(translate("Loop: end on the first picture"), size="sm", elem_id="loop")
    return EndPicture(loop, seen, box, ignored)


def connect_end_picture(end: EndPicture, form: Form, check: PictureCheck, first_seen: gr.State, **run: Any) -> None:
    """`check` is the gate of this picture; the crop follows the first one. `run`: how events run."""
    picture, address = form["end_picture"], form["end_image_url"]
    first = [form["picture"], form["image_url"]]
    end.loop.click(inputs=first, outputs=[picture, address], js="(...first) => first", **BROWSER)
    picture.input(outputs=[address], js="() => ''", **BROWSER)
    address.input(outputs=[picture], js="() => null", **BROWSER)
    shown = [first_seen, form["resolution"], form["aspect_ratio"]]
    read = gr.on(
        [picture.chosen.change, address.blur, end.loop.click],
        check.read,
        [end.seen, picture, address],
        [end.seen, end.box],
        **run,
    )
    read.then(check.show_end, [end.seen, picture, address, *shown], [end.box], **run)
    gr.on(
        [each.change for each in (address, *shown[1:])],
        check.show_end,
        [end.seen, picture, address, *shown],
        [end.box],
        **run,
    )


def show_ignored(engine: EngineProfile, where: Where) -> Any:
    """Whether this engine takes an end picture, where the job would run."""
    return gr.update(**_ignored(engine, where))


def _ignored(engine: EngineProfile, where: Where) -> dict[str, Any]:
    visible = not engine.takes_end_picture and pool_of(where, engine.name) == "local"
    return {"value": translate(IGNORED, engine=in_a_sentence(engine)), "visible": visible}
