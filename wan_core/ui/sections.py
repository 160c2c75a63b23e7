"""The left column's components: picture and prompt, then the accordions."""

from html import escape
from typing import Literal

import gradio as gr

from wan_core import prompting
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.events import Where
from wan_core.presets import Preset
from wan_core.profiles import Choice, EngineProfile, Machine, draws_small, profiles, why_not
from wan_core.schema import MAX_PROMPT_CHARS
from wan_core.ui.controls import PICTURE_DETAIL, Form, control, to_component_value
from wan_core.ui.languages import translate, translate_made
from wan_core.ui.names import in_a_sentence
from wan_core.ui.pictures import upload_box
from wan_core.workload import TEXT_TOKENS

SAMPLING = ("seed", "num_inference_steps", "guidance_scale", "guidance_scale_2", "shift", "acceleration")
FRAMES = (
    "num_frames",
    "frames_per_second",
    "interpolator_model",
    "num_interpolated_frames",
    "adjust_fps_for_interpolation",
)
ENCODING = ("video_quality", "video_write_mode")
CHECKS = ("enable_safety_checker", "enable_output_safety_checker", "enable_prompt_expansion")
TOGGLE_JS = """
const button = element.querySelector('button');
button.addEventListener('click', () => {
  const open = document.getElementById('left').classList.toggle('wants-address');
  button.setAttribute('aria-expanded', open);
  if (open) document.querySelector('#image_url :is(input, textarea)')?.focus();
});
"""
SECTIONS = {
    **dict.fromkeys(SAMPLING, "sampling"),
    **dict.fromkeys(FRAMES, "frames"),
    **dict.fromkeys(ENCODING, "encoding"),
    **dict.fromkeys((*CHECKS, "negative_prompt"), "checks"),
    "end_image_url": "end",
}
Fal = Literal["closed", "own_key", "open"]
"""Whether jobs may run on fal: no, with the visitor's own key, or on the host's key too."""
DETAIL_HELP = (
    "The frames are drawn small. On: they are enlarged with fine detail from your picture, where they still show it. "
    "Off: the model's own pixels, blurred by enlarging."
)
FRAME_NOTE = "Another site shows this page in a frame. To give your own fal key, {link}."
KEY_HELP: dict[Fal, str] = {
    "closed": "",
    "own_key": "Needed to run on fal: this server has no key of its own. Used for one run, never stored.",
    "open": "Leave empty to use this server's key. Yours is used for one run and never stored.",
}
FORCED = "This server checks every picture and prompt; it cannot be switched off here."
ALWAYS_FAL = "fal when this machine cannot: here always, as only the {engine} runs on it"
PLACES: dict[Where, str] = {
    "local": "This machine",
    "fal": "fal",
    "fal_when_needed": "fal when this machine cannot",
}


def section_of(field: str) -> str:
    """The id of the accordion that holds the field; empty for one that is always in sight."""
    return SECTIONS.get(field, "")


def picture_section(form: Form) -> gr.HTML:
    """The picture box and the address below it; the last one given counts. Returns the place for the gate's answer."""
    with gr.Column(elem_id="picture-part"):  # a form of its own, apart from the prompt
        with gr.Row(elem_id="picture-row"):
            form.add("picture", upload_box("picture", translate("Picture")))
            check = gr.HTML(elem_id="picture-check")
        gr.HTML(
            '<button type="button" class="link" aria-expanded="false" aria-controls="image_url">'
            f"{translate('… or its web address')}</button>",
            elem_id="address-toggle",
            elem_classes="not-in-embed",
            js_on_load=TOGGLE_JS,
        )
        form.add("image_url", control("image_url", label=translate("Web address"), elem_classes="not-in-embed"))
    return check


def prompt_section(form: Form) -> None:
    form.add("prompt", control("prompt", value="", info=None, lines=2, max_lines=8, max_length=MAX_PROMPT_CHARS))
    token_count("prompt")


def token_count(field: str) -> None:
    """The line in which `tokens.js` says how much of the prompt is read."""
    gr.HTML(f'<p id="{field}-tokens" class="tokens" data-limit="{TEXT_TOKENS}" aria-live="polite" hidden></p>')


def size_section(form: Form, opening: Preset) -> None:
    with gr.Group(elem_classes="not-in-embed"):
        for name in ("resolution", "aspect_ratio"):
            _add(form, name, opening, info=None)
        gr.HTML(_help("prompt", "resolution", "aspect_ratio"), elem_id="size-help")


def _help(*fields: str) -> str:
    """The schema's words for fields that show none, behind a fold."""
    named = ((IMAGE_TO_VIDEO.fields[name].title, IMAGE_TO_VIDEO.fields[name].description) for name in fields)
    rows = "".join(
        f"<dt>{escape(translate(title or ''))}</dt><dd>{escape(translate(words or ''))}</dd>" for title, words in named
    )
    summary = translate("What these mean")
    return f'<details class="small help"><summary>ⓘ {summary}</summary><dl>{rows}</dl></details>'


def sampling_section(form: Form, opening: Preset, engine: EngineProfile) -> None:
    """The sampler's controls and, if the engine has one, its measured account of them."""
    with gr.Accordion(translate("Sampling"), open=False, elem_id="sampling", elem_classes="not-in-embed"):
        for name in SAMPLING:
            _add(form, name, opening)
        if engine.knob_help is not None:
            with gr.Accordion(_knob_title(engine), open=False, elem_id="knobs"):
                text, tables = (engine.knob_help / "knobs.md").read_text(encoding="utf-8").split("## Figures\n")
                gr.Markdown(text.partition("\n")[2], elem_classes="small")
                gr.Image(
                    str(engine.knob_help / "knobs.jpg"),
                    label=translate("Last frames"),
                    show_label=False,
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="knobs-picture",
                )
                gr.Markdown(tables)


def frames_section(form: Form, opening: Preset) -> None:
    with gr.Accordion(translate("Frames and interpolation"), open=False, elem_id="frames", elem_classes="not-in-embed"):
        for name in FRAMES:
            _add(form, name, opening)


def encoding_section(form: Form, opening: Preset, engine: EngineProfile) -> None:
    with gr.Accordion(translate("Encoding"), open=False, elem_id="encoding", elem_classes="not-in-embed"):
        for name in ENCODING:
            _add(form, name, opening)
        form.add(
            "picture_detail",
            gr.Checkbox(
                opening.picture_detail,
                label=translate(PICTURE_DETAIL),
                info=translate(DETAIL_HELP),
                elem_id="picture_detail",
                visible=draws_small(engine, "local"),
            ),
        )
        form.add(
            "prompt_in_file",
            gr.Checkbox(
                True,
                label=translate("Keep the prompt in the file"),
                info=translate("The mp4 carries its settings, so that they can be restored. Off: without the prompts."),
                elem_id="prompt_in_file",
            ),
        )


def checks_section(form: Form, opening: Preset) -> gr.Button:
    """Returns the button that fills in Wan's own negative prompt."""
    with gr.Accordion(translate("Safety and prompt"), open=False, elem_id="checks", elem_classes="not-in-embed"):
        for name in CHECKS:
            _add(form, name, opening)
        _add(form, "negative_prompt", opening, lines=2, max_lines=6, max_length=MAX_PROMPT_CHARS)
        token_count("negative_prompt")
        gr.Markdown(translate(prompting.NEGATIVE_PROMPT_NOTE), elem_classes="small")
        return gr.Button(translate("Use Wan's own negative prompt"), size="sm", elem_id="wan-negative-prompt")


def lock_safety(form: Form) -> None:
    """Tick the box for ever: the host has every job checked."""
    box = form["enable_safety_checker"]
    box.value, box.interactive, box.info = True, False, translate(FORCED)
    form.locked = form.locked | {"enable_safety_checker"}


def where_section(form: Form, choice: Choice, machine: Machine, engine: EngineProfile, fal: Fal) -> gr.Textbox:
    """Engine and place. Returns the box for the visitor's fal key, which is no part of the form."""
    runnable = [
        (translate(profile.title), name) for name, profile in profiles().items() if why_not(profile, machine) is None
    ]
    with gr.Accordion(translate("Where it runs"), open=False, elem_id="where-it-runs", elem_classes="not-in-embed"):
        gr.Markdown(_why(choice, machine), elem_id="engine-reason")
        form.add(
            "engine",
            gr.Radio(
                runnable, value=engine.name, label=translate("Engine"), elem_id="engine", visible=len(runnable) > 1
            ),
        )
        form.add(
            "where",
            gr.Radio(
                [(words, place) for place, words in _places(choice).items()],
                value="local",
                label=translate("Where"),
                info=translate("The price on fal stands in the line below Generate before you click."),
                elem_id="where",
                visible=fal != "closed",
            ),
        )
        gr.HTML(_frame_note(), elem_id="frame-note", visible=fal != "closed")
        return gr.Textbox(
            label=translate("Your own fal key"),
            info=translate(KEY_HELP[fal]),
            type="password",
            max_length=400,
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
            elem_id="fal-key",
            visible=fal != "closed",
        )


def _places(choice: Choice) -> dict[Where, str]:
    """The places and their labels; where only a smaller model runs, `fal_when_needed` says "always"."""
    places = {place: translate(words) for place, words in PLACES.items()}
    if not choice.profile.is_full_model:
        places["fal_when_needed"] = translate(ALWAYS_FAL, engine=in_a_sentence(choice.profile))
    return places


def _why(choice: Choice, machine: Machine) -> str:
    here = translate(
        "**{engine}** on this machine ({machine}). {reason}",
        engine=translate(choice.profile.title),
        machine=translate(machine.title),
        reason=translate_made(choice.reason),
    )
    return f"{here}\n\n{translate(choice.profile.description)}"


def _knob_title(engine: EngineProfile) -> str:
    return translate("What these do to the {engine}", engine=in_a_sentence(engine))


def _frame_note() -> str:
    way = translate("open the page in a tab of its own")
    link = f'<a href="." target="_blank" rel="noopener">{way}</a>'
    return f'<p class="small">{translate(FRAME_NOTE, link=link)}</p>'


def _add(form: Form, name: str, opening: Preset, **options: object) -> None:
    form.add(name, control(name, to_component_value(name, opening.complete.get(name)), **options))
