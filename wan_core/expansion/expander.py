"""Rewrite the prompt with a vision-language model that sees the picture.

Its answer is untrusted. A failure never costs the clip: the visitor's prompt is used, with a note.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Protocol

from PIL import Image

from wan_core.errors import InputError
from wan_core.expansion.answers import NotAPrompt, prompt_in
from wan_core.expansion.instructions import INVENT, REWRITE
from wan_core.hub import Pin, Unavailable
from wan_core.settings import Settings

log = logging.getLogger(__name__)

PICTURE_AREA = 512 * 512  # as in Wan's own expansion
QWEN3_VL = Pin(
    "Qwen/Qwen3-VL-2B-Instruct",
    "89644892e4d85e24eaac8bacfd4f463576704203",
    {"model.safetensors": "7de1838c87a5349b016c26a1c3f7d2bc400a3d485f95ef39a7059ffd734977a0"},
)


@dataclass(frozen=True)
class Expansion:
    """`note`: why the prompt was not expanded."""

    prompt: str
    note: str | None = None


class Writer(Protocol):
    def write(self, instruction: str, picture: Image.Image, text: str, deadline: float) -> str:
        """The raw answer to small RGB and `text`, which may be empty. `deadline` is a `time.monotonic()`.

        Raises:
            Unavailable: the middle of a sentence.
            Exception: any other; never shown.
        """


class Expander:
    """Thread-safe. A prompt takes at most `deadline_s`."""

    def __init__(self, writer: Writer, deadline_s: float) -> None:
        self._writer, self._deadline_s = writer, deadline_s

    def expand(self, picture: Image.Image, prompt: str) -> Expansion:
        """The rewritten prompt, or the visitor's own with a note.

        Raises:
            InputError: the prompt is empty and none could be written.
        """
        text = prompt.strip()
        try:
            return Expansion(self._write_answer(picture, text))
        except Unavailable as fault:
            if not text:
                message = f"No prompt could be written from the picture: {fault}. Say yourself what should move."
                raise InputError("prompt", "string_too_short", message, {"min_length": 1}) from None
            return Expansion(prompt, f"The prompt was not expanded: {fault}. Yours was used as it is.")

    def _write_answer(self, picture: Image.Image, text: str) -> str:
        deadline = time.monotonic() + self._deadline_s
        instruction = REWRITE if text else INVENT
        answer = _within(self._deadline_s, lambda: self._writer.write(instruction, small(picture), text, deadline))
        try:
            return prompt_in(answer)
        except NotAPrompt:
            raise Unavailable("the answer of the language model was no usable text") from None


def expander(settings: Settings) -> Expander:
    """Loads nothing yet."""
    return Expander(_writer(settings), settings.limits.expansion_deadline_s)


def _writer(settings: Settings) -> Writer:
    if settings.expansion_url or settings.expansion_model or settings.expansion_key:
        from wan_core.expansion.server import Server

        key = settings.expansion_key or (None if settings.expansion_url else settings.hf_token)
        return Server(settings.expansion_url, settings.expansion_model, key)
    from wan_core.expansion.local import LocalModel

    return LocalModel(QWEN3_VL)


def small(picture: Image.Image) -> Image.Image:
    factor = min(1.0, (PICTURE_AREA / (picture.width * picture.height)) ** 0.5)
    size = max(1, int(picture.width * factor)), max(1, int(picture.height * factor))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _within(seconds: float, call: Callable[[], str]) -> str:
    """In a thread that goes on if it is late. Raises Unavailable."""
    outcome: Future[str] = Future()
    Thread(target=_settle, args=(outcome, call), daemon=True, name="expansion").start()
    try:
        fault = outcome.exception(timeout=seconds)
    except TimeoutError as late:
        fault = late
    if fault is None:
        return outcome.result()
    if isinstance(fault, TimeoutError):
        raise Unavailable(f"the language model did not answer within {seconds:g} seconds") from None
    if isinstance(fault, Unavailable):
        raise fault
    raise Unavailable("the language model could not be reached or failed") from None


def _settle(outcome: "Future[str]", call: Callable[[], str]) -> None:
    try:
        outcome.set_result(call())
    except Exception as fault:  # noqa: BLE001  clients and models share no narrower class; `_within` raises it again
        log.warning("Prompt expansion failed: %s: %.150s", type(fault).__name__, " ".join(str(fault).split()))
        outcome.set_exception(fault)
