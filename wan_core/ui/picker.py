"""The row of presets. One that cannot run here is disabled, with the reason below."""

from html import escape

import gradio as gr

from wan_core.presets import Preset, presets
from wan_core.profiles import EngineProfile, Machine
from wan_core.ui.buttons import clicked


def picker(chosen: str | None, machine_default: EngineProfile, machine: Machine) -> str:
    refusals = {preset.name: preset.why_not(machine_default, machine) for preset in presets().values()}
    buttons = "".join(_button(preset, chosen, refusals[preset.name]) for preset in presets().values())
    said = presets()[chosen].description if chosen else "Your own settings."
    return (
        f'<div class="chips" role="group" aria-label="Presets">{buttons}</div>'
        f'<p class="small" id="preset-description" aria-live="polite">{escape(said)}</p>{_reasons(refusals)}'
    )


def chosen_preset(event: gr.EventData, machine_default: EngineProfile, machine: Machine) -> Preset | None:
    """The clicked preset, if it exists and can run."""
    preset = presets().get(clicked(event, "preset"))
    return preset if preset and preset.why_not(machine_default, machine) is None else None


def _button(preset: Preset, chosen: str | None, refusal: str | None) -> str:
    state = f'aria-pressed="{str(preset.name == chosen).lower()}"' + (" disabled" if refusal else "")
    hint = escape(refusal or preset.description, quote=True)
    return f'<button type="button" data-preset="{preset.name}" {state} title="{hint}">{escape(preset.title)}</button>'


def _reasons(refusals: dict[str, str | None]) -> str:
    held_back: dict[str, list[str]] = {}
    for name, refusal in refusals.items():
        if refusal:
            held_back.setdefault(refusal, []).append(presets()[name].title)
    return "".join(
        f'<p class="small refusal">{escape(" and ".join(titles))}: {escape(refusal)}</p>'
        for refusal, titles in held_back.items()
    )
