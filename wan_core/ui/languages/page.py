"""The configuration that Gradio sends of a page, in the visitor's language.

`gr.I18n` would send all languages to everyone, and takes one whole text of a component at a time, none inside HTML. So
the page's components are made once more in each language, when the first visitor comes who wants it; their texts
replace the English ones.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio.blocks import Block, BlocksConfig
from gradio.components import Component
from gradio.context import Context
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_core.ui.languages import ENGLISH, preferred, speaking, spoken
from wan_core.ui.languages.browser import with_words

log = logging.getLogger(__name__)

LayOut = Callable[[], object]
TEXTS = ("label", "info", "placeholder", "choices")
SAID_BY_VALUE = (gr.Button, gr.HTML, gr.Markdown)
PAGES = ("", "/", "/config", "/config/")


class Texts:
    """The texts of the components that `lay_out` makes, by language."""

    def __init__(self, lay_out: LayOut) -> None:
        self._lay_out = lay_out
        self._lock = threading.Lock()
        self._known: dict[str, list[Mapping[str, Any]]] = {}

    def into(self, config: dict[str, Any], blocks: Sequence[Block]) -> dict[str, Any]:
        """`config` in the language that is spoken. `blocks`: the page's, in the order of their making."""
        language = spoken()
        if language == ENGLISH:
            return config
        known = self._in(language, blocks)
        texts = {block._id: said for block, said in zip(blocks, known, strict=False)}
        components = [
            {**each, "props": {**each["props"], **texts.get(each["id"], {})}} for each in config["components"]
        ]
        return {**config, "components": components, "head": with_words(config.get("head") or "", language)}

    def _in(self, language: str, blocks: Sequence[Block]) -> list[Mapping[str, Any]]:
        """Nothing if something else was made meanwhile; the next visitor asks again."""
        with self._lock:
            if language in self._known:
                return self._known[language]
            made = _made_aside(self._lay_out)
            if [type(block) for block in made] != [type(block) for block in blocks]:
                log.warning("the page could not be laid out in another language (%s)", language)
                return []
            self._known[language] = [_texts(block) for block in made]
            return self._known[language]


def _made_aside(lay_out: LayOut) -> list[Block]:
    """The components of a layout that belongs to no page. (A `gr.Blocks` would open event loops and keep them.)"""
    root: Any = SimpleNamespace(renderables=[], current_page="", temp_file_sets=[])
    root.default_config = BlocksConfig(root)
    before = Context.root_block, Context.block
    Context.root_block, Context.block = root, gr.Column(render=False)
    try:
        lay_out()
    finally:
        Context.root_block, Context.block = before
    return list(root.default_config.blocks.values())


def _texts(block: Block) -> dict[str, Any]:
    props = block.get_config()
    said = {name: props[name] for name in TEXTS if props.get(name)}
    if isinstance(block, SAID_BY_VALUE) and isinstance(block, Component):
        said["value"] = block.postprocess(props.get("value"))
    return {name: text for name, text in said.items() if text is not None}


class SpeakTheirLanguage:
    """The page in the language that its reader's browser asks for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PAGES:
            return await self._app(scope, receive, send)
        language = preferred(Headers(scope=scope).get("accept-language", ""))

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Accept-Language")
                headers["Content-Language"] = language
            await send(message)

        with speaking(language):
            await self._app(scope, receive, send_named)
