"""Words for the prompt, one click each: Wan's vocabulary of camera and motion, or what the miniature has learned."""

from html import escape

import gradio as gr

from wan_core import prompting
from wan_core.events import Where
from wan_core.profiles import MINIATURE, EngineProfile, miniature_card, pool_of
from wan_core.prompting import Chip

CHOOSE_JS = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-chip]');
  if (button) trigger('click', {chip: button.dataset.chip});
});
"""
ALL = {chip.label: chip for chip in (*prompting.CAMERA, *prompting.MOTION)}


def chips(engine: EngineProfile, where: Where) -> str:
    """The words that count for what will run: `engine`, or the full model at fal."""
    if engine.name != MINIATURE or pool_of(where, engine.name) == "fal":
        return _group("Camera", prompting.CAMERA) + _group("Motion", prompting.MOTION)
    camera = _known_to_the_miniature(prompting.CAMERA) or prompting.CAMERA
    return _group("Camera", camera) + _group("Motion", _known_to_the_miniature(prompting.MOTION))


def chosen_chip(event: gr.EventData) -> Chip | None:
    """The chip a click asks for."""
    return ALL.get(str(getattr(event, "chip", "")))


def _known_to_the_miniature(words: tuple[Chip, ...]) -> tuple[Chip, ...]:
    """The words among those on the miniature's card, each a part of a move's name."""
    moves = miniature_card()["moves"]
    known = " ".join(str(move).lower() for move in moves) if isinstance(moves, list) else ""
    return tuple(chip for chip in words if chip.label.lower() in known)


def _group(title: str, words: tuple[Chip, ...]) -> str:
    if not words:
        return ""
    buttons = "".join(
        f'<button type="button" data-chip="{escape(chip.label, quote=True)}" '
        f'title="{escape(chip.sentence, quote=True)}">{escape(chip.label)}</button>'
        for chip in words
    )
    return f'<div class="chips" role="group" aria-label="{title}"><b class="small">{title}</b>{buttons}</div>'
