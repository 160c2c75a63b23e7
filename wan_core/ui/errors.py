"""Errors behind the page as sentences that a visitor may read; nothing else reaches them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

import gradio as gr

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import UNEXPECTED, InputError, WanError, storage_error
from wan_core.ui.languages import translate, translate_made
from wan_core.ui.names import title_of

log = logging.getLogger(__name__)

CLIP_GONE = "This clip is no longer kept here."


def as_html(text: str) -> str:
    """`text` for a message on the page, which Gradio takes for HTML: it would load a picture that is named there."""
    return escape(text, quote=False)


@contextmanager
def as_gradio_error(written: Callable[[str], str] = as_html) -> Iterator[None]:
    """Raise every error inside as `gr.Error`: ours with its message, any other logged and with a fixed one.

    `written` is `str` where programs read the sentence.
    """
    try:
        yield
    except InputError as error:
        raise gr.Error(
            written(translate_made(error.message)), title=_title(error.field), print_exception=False
        ) from None
    except WanError as error:
        raise gr.Error(
            written(translate_made(error.message)), title=translate("Not done"), print_exception=False
        ) from None
    except gr.Error:
        raise
    except Exception as error:  # the edge of the process
        log.exception("an event of the page failed")
        full = storage_error(error)
        raise gr.Error(translate_made(full.message if full else UNEXPECTED), print_exception=False) from None


def _title(field: str) -> str:
    return title_of(field) if field in IMAGE_TO_VIDEO.fields else translate("Not done")
