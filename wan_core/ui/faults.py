"""What cannot be used, as a list at the button. `faults.js` repeats each sentence at its field. Pure.

A list that a press brought also opens the section of the first field, scrolls there and focuses it.
"""

from html import escape

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.ui.controls import UPLOAD_BOXES
from wan_core.ui.languages import translate_made
from wan_core.ui.sections import section_of

FAULTS_JS = "watch('value', () => wanFaults.show());"


def while_typing(error: InputError) -> str:
    return "".join(_sentence(fault) for fault in (error, *error.others))


def pressed(error: InputError) -> str:
    """The answer to a press of a button."""
    return f'<div data-pressed role="alert">{while_typing(error)}</div>'


def _sentence(fault: InputError) -> str:
    """A link to the field with its sentence, by the ids of the page's elements."""
    box = UPLOAD_BOXES.get(fault.field, fault.field)
    known = fault.field in IMAGE_TO_VIDEO.fields
    target = f'href="#{box}" data-field="{escape(box, quote=True)}" data-section="{section_of(box)}"'
    sentence = escape(translate_made(fault.message))
    return f'<p class="fault">{f"<a {target}>{sentence}</a>" if known else sentence}</p>'
