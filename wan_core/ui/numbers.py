"""The number box of a slider. `page.js` makes it a text box, so that what was typed arrives as it was typed."""

import gradio as gr


class NumberSlider(gr.Slider):
    """`gr.Slider` without Gradio's own bounds check: the schema judges the value, and says more than "Error"."""

    is_template = True  # keeps the front end of `slider`

    def preprocess(self, payload: float | str | None) -> float | str | None:  # type: ignore[override]
        return read_number(payload)


def read_number(typed: float | str | None) -> float | str | None:
    """The number in "81", "4.5" or "4,5"; anything else unchanged."""
    if not isinstance(typed, str):
        return typed
    try:
        number = float(typed.strip().replace(",", "."))
        return int(number) if number.is_integer() else number
    except ValueError:
        return typed
