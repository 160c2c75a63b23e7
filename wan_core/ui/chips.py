"""Buttons that add camera and motion words to the prompt."""

from html import escape

import gradio as gr

from wan_core import prompting
from wan_core.events import Where
from wan_core.profiles import EngineProfile, pool_of
from wan_core.prompting import Chip
from wan_core.ui.buttons import clicked
from wan_core.ui.languages import translate

ALL = {chip.label: chip for chip in (*prompting.CAMERA, *prompting.MOTION)}


def chips(engine: EngineProfile, where: Where) -> str:
    """The words that `engine` knows; all of them where the job runs on fal's full model."""
    if engine.vocabulary is None or pool_of(where, engine.name) == "fal":
        return _group("Camera", prompting.CAMERA) + _group("Motion", prompting.MOTION)
    camera = _select_known(prompting.CAMERA, engine.vocabulary) or prompting.CAMERA
    return _group("Camera", camera) + _group("Motion", _select_known(prompting.MOTION, engine.vocabulary))


def chosen_chip(event: gr.EventData) -> Chip | None:
    return ALL.get(clicked(event, "chip"))


def _select_known(words: tuple[Chip, ...], vocabulary: tuple[str, ...]) -> tuple[Chip, ...]:
    """The words found inside `vocabulary` ("pan" in "pan left")."""
    known = " ".join(vocabulary).lower()
    return tuple(chip for chip in words if chip.label.lower() in known)


def _group(title: str, words: tuple[Chip, ...]) -> str:
    if not words:
        return ""
    buttons = "".join(
        f'<button type="button" data-chip="{escape(chip.label, quote=True)}" '
        f'title="{escape(chip.sentence, quote=True)}">{escape(translate(chip.label))}</button>'
        for chip in words
    )
    title = translate(title)
    return f'<div class="chips" role="group" aria-label="{title}"><b class="small">{title}</b>{buttons}</div>'
