"""The row of presets. Those that cannot run here collapse into one line with the reasons."""

from collections.abc import Sequence
from html import escape

import gradio as gr

from wan_core.presets import Preset, presets
from wan_core.profiles import EngineProfile, Machine
from wan_core.ui.buttons import clicked


def picker(chosen: str | None, machine_default: EngineProfile, machine: Machine, changed: Sequence[str] = ()) -> str:
    """`changed`: titles of the fields that differ from the chosen preset's; it is no longer pressed then."""
    refusals = {preset.name: preset.why_not(machine_default, machine) for preset in presets().values()}
    pressed = None if changed else chosen
    buttons = "".join(_button(preset, pressed) for preset in presets().values() if not refusals[preset.name])
    return (
        f'<div class="chips" role="group" aria-label="Presets">{buttons}</div>'
        f'<p class="small" id="preset-description">{escape(_description(chosen, changed))}</p>{_reasons(refusals)}'
    )


def _description(chosen: str | None, changed: Sequence[str]) -> str:
    if chosen is None:
        return "Your own settings."
    preset = presets()[chosen]
    return f"{preset.title}, changed: {', '.join(changed)}." if changed else preset.description


def chosen_preset(event: gr.EventData, machine_default: EngineProfile, machine: Machine) -> Preset | None:
    """The clicked preset, if it exists and can run."""
    preset = presets().get(clicked(event, "preset"))
    return preset if preset and preset.why_not(machine_default, machine) is None else None


def _button(preset: Preset, pressed: str | None) -> str:
    state = f'aria-pressed="{str(preset.name == pressed).lower()}"'
    hint = escape(preset.description, quote=True)
    return f'<button type="button" data-preset="{preset.name}" {state} title="{hint}">{escape(preset.title)}</button>'


def _reasons(refusals: dict[str, str | None]) -> str:
    """One line for all that cannot run here; the reasons behind it."""
    held_back = {presets()[name].title: refusal for name, refusal in refusals.items() if refusal}
    if not held_back:
        return ""
    reasons = "".join(f"<li>{escape(title)}: {escape(refusal)}</li>" for title, refusal in held_back.items())
    *first, last = held_back
    titles = escape(f"{', '.join(first)} and {last}" if first else last)
    return (
        f'<details class="small refusal"><summary>Not on this machine: {titles}</summary><ul>{reasons}</ul></details>'
    )
