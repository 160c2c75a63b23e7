"""The row of presets. Those that cannot run here collapse into one line with the reasons."""

from collections.abc import Sequence
from html import escape

import gradio as gr

from wan_core.presets import Preset, presets
from wan_core.profiles import EngineProfile, Machine
from wan_core.ui.buttons import clicked
from wan_core.ui.languages import translate, translate_made


def picker(chosen: str | None, machine_default: EngineProfile, machine: Machine, changed: Sequence[str] = ()) -> str:
    """`changed`: titles of the fields that differ from the chosen preset's; it is no longer pressed then."""
    refusals = {preset.name: preset.why_not(machine_default, machine) for preset in presets().values()}
    pressed = None if changed else chosen
    buttons = "".join(_button(preset, pressed) for preset in presets().values() if not refusals[preset.name])
    return (
        f'<div class="chips" role="group" aria-label="{translate("Presets")}">{buttons}</div>'
        f'<p class="small" id="preset-description">{escape(_description(chosen, changed))}</p>{_reasons(refusals)}'
    )


def _description(chosen: str | None, changed: Sequence[str]) -> str:
    if chosen is None:
        return translate("Your own settings.")
    preset = presets()[chosen]
    if not changed:
        return translate(preset.description)
    return translate("{preset}, changed: {fields}.", preset=translate(preset.title), fields=", ".join(changed))


def chosen_preset(event: gr.EventData, machine_default: EngineProfile, machine: Machine) -> Preset | None:
    """The clicked preset, if it exists and can run."""
    preset = presets().get(clicked(event, "preset"))
    return preset if preset and preset.why_not(machine_default, machine) is None else None


def _button(preset: Preset, pressed: str | None) -> str:
    state = f'aria-pressed="{str(preset.name == pressed).lower()}"'
    words, hint = escape(translate(preset.title)), escape(translate(preset.description), quote=True)
    return f'<button type="button" data-preset="{preset.name}" {state} title="{hint}">{words}</button>'


def _reasons(refusals: dict[str, str | None]) -> str:
    """One line for all that cannot run here; the reasons behind it."""
    held_back = {
        translate(presets()[name].title): translate_made(refusal) for name, refusal in refusals.items() if refusal
    }
    if not held_back:
        return ""
    reasons = "".join(f"<li>{escape(title)}: {escape(refusal)}</li>" for title, refusal in held_back.items())
    *first, last = held_back
    titles = translate("{several} and {last}", several=", ".join(first), last=last) if first else last
    summary = escape(translate("Not on this machine: {presets}", presets=titles))
    return f'<details class="small refusal"><summary>{summary}</summary><ul>{reasons}</ul></details>'
