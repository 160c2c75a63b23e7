"""What goes wrong around our functions, inside Gradio: the visitor gets a sentence, the log one line without the input.

Gradio 6.31 prints every such fault with the values that it quotes, megabytes if a visitor sends them, and tells the
visitor nothing. Its `Blocks` are corrected by inheritance; what it prints elsewhere, by `print_no_input`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from types import ModuleType
from typing import Any

import gradio as gr
from anyio import to_thread
from fastapi.exceptions import RequestValidationError
from gradio import queueing, route_utils, routes
from gradio.blocks import Block
from gradio.state_holder import SessionState
from starlette.requests import Request
from starlette.responses import JSONResponse

from wan_core.errors import UNEXPECTED, storage_error
from wan_core.ui.languages import ENGLISH, preferred, speaking, translate, translate_made
from wan_core.ui.languages.page import LayOut, Texts
from wan_core.ui.session_config import PageConfig

log = logging.getLogger(__name__)

UNREADABLE = "The values of this request do not fit what it is for. Reload the page, or see the API page for them."


class Page(gr.Blocks):
    """`gr.Blocks` whose every fault is a `gr.Error` that Gradio does not print, that keeps little of sessions, and
    that does no work for the outputs which an event leaves alone."""

    def __init__(self, **options: Any) -> None:
        self.texts: Texts | None = None
        super().__init__(**options)
        self.default_config = PageConfig(self)

    @property
    def config(self) -> Any:
        """What Gradio sends of the page, in the language of who asks."""
        return self.texts.into(self._config, self._laid_out) if self.texts else self._config

    @config.setter
    def config(self, config: Any) -> None:
        self._config = config

    def speak(self, lay_out: LayOut) -> None:
        """From now on in every language. `lay_out` has made all components so far, and makes them again aside."""
        self._laid_out = [block for block in self.blocks.values() if block is not self]
        self.texts = Texts(lay_out)

    def forget_session(self, request: gr.Request) -> None:
        """For `unload`. Gradio itself would keep what it knows of a closed page for ever."""
        holder, session = self.state_holder, str(request.session_hash)
        holder.session_data.pop(session, None)
        holder.time_last_used.pop(session, None)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], state: Any, *options: Any) -> Any:
        """As Gradio's, with all inputs in one thread: one after the other they are half of what an answer costs."""
        without_preprocess, state = copy(block_fn), state or SessionState(self)
        without_preprocess.preprocess = False
        try:
            if not block_fn.preprocess or block_fn.component_prop_inputs:
                return await super().preprocess_data(block_fn, inputs, state, *options)
            values = await super().preprocess_data(without_preprocess, inputs, state, *options)
            return await to_thread.run_sync(preprocess_all, block_fn.inputs, values, state, limiter=self.limiter)
        except Exception as error:  # noqa: BLE001  (whatever a component makes of a visitor's value)
            log.debug("an event came with values that do not fit it: %s", type(error).__name__)
            raise unreadable() from None

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """Only the outputs that `predictions` names: for each that is skipped Gradio would build a component anew."""
        skipped = gr.skip()
        named = {} if predictions == skipped else predictions
        if not isinstance(named, dict) or not all(isinstance(key, Block) for key in named):
            return await super().postprocess_data(block_fn, predictions, state)
        given = {output: value for output, value in named.items() if value != skipped}
        told = copy(block_fn)
        told.outputs = [output for output in block_fn.outputs if output in given]
        values = iter(await super().postprocess_data(told, given, state) if given else [])
        return [next(values) if output in given else skipped for output in block_fn.outputs]

    async def call_function(self, block_fn: Any, *args: Any, **options: Any) -> Any:
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        if not function.fn:  # an event that the browser carries out alone
            raise unreadable()
        return await super().call_function(block_fn, *args, **options)

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:
        event = options.get("event_data")
        if isinstance(event, gr.EventData) and not isinstance(event._data, Mapping):
            event._data = {}  # else every look into it would fail
        try:
            with speaking(self._language_of(*args, **options)):
                return await super().process_api(*args, **options)
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            log.exception("an event of the page failed")
            full = storage_error(error)
            raise gr.Error(translate_made(full.message if full else UNEXPECTED), print_exception=False) from None

    def _language_of(self, block_fn: Any = None, *_: Any, request: Any = None, **__: Any) -> str:
        """English for programs: they call the public functions."""
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        first = request[0] if isinstance(request, list) and request else request
        headers = getattr(first, "headers", None) or {}
        is_public = getattr(function, "api_visibility", "private") != "private"
        return ENGLISH if is_public else preferred(str(headers.get("accept-language") or ""))


def preprocess_all(blocks: Sequence[Any], values: Sequence[Any], state: Any) -> list[Any]:
    """What the function of an event gets for the values that a browser sent."""
    return [
        value if block.stateful else preprocess_one(state[block._id], value)  # as the session has changed it
        for block, value in zip(blocks, values, strict=True)
    ]


def preprocess_one(block: Any, value: Any) -> Any:
    model = getattr(block, "data_model", None)
    if model and value is not None:
        value = model.model_validate(value, context={"validate_meta": True})
    return block.preprocess(value)


def unreadable() -> gr.Error:
    return gr.Error(translate(UNREADABLE), title=translate("Not done"), print_exception=False)


async def refuse_unreadable(request: Request, error: Exception) -> JSONResponse:
    """The answer of Gradio's routes to a body that is not what they take; it repeats nothing of it."""
    log.debug("a request does not fit its route: %s", type(error).__name__)
    return JSONResponse({"detail": UNREADABLE}, 422)


FAULT_HANDLERS: Mapping[type[Exception], Callable[..., Any]] = dict.fromkeys(
    (RequestValidationError, route_utils.FnIndexInferError, LookupError, TypeError, ValueError), refuse_unreadable
)
"""For `launch(app_kwargs={"exception_handlers": …})`: a name, an index or a type that Gradio's routes stumble over."""


class NoTracebacks(ModuleType):
    """In the place of the module `traceback`: one line of the log, by its rules, instead of a print."""

    def print_exc(self) -> None:
        log.exception("Gradio could not carry out an event")


def print_no_input() -> None:
    """Keep Gradio from printing what visitors sent: its queue and routes print the faults of events with their text."""
    for module in (queueing, routes):
        setattr(module, "traceback", NoTracebacks("traceback"))  # noqa: B010
    setattr(queueing, "print", print_nothing)  # noqa: B010  (what a validator refused, as the visitor is told anyway)


def print_nothing(*texts: object) -> None:
    """For a module that prints what visitors sent."""
