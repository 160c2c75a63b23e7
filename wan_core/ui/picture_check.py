"""The picture gate's answer as soon as a picture is chosen: what the engine will see, or why it is refused."""

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from wan_core import geometry
from wan_core.errors import InputError, WanError
from wan_core.geometry import Size
from wan_core.jobs.limits import client_of
from wan_core.jobs.service import JobService
from wan_core.schema import AspectRatio, Resolution
from wan_core.settings import Settings
from wan_core.ui.errors import as_gradio_error
from wan_core.ui.languages import translate, translate_made
from wan_core.ui.pictures import picture_source

THUMBNAIL_SIDE = 240
READING = "Looking at the picture…"
SEEN = "What the engine will see"


def reading() -> str:
    return f'<p class="said small">{translate(READING)}</p>'


@dataclass(frozen=True)
class SeenPicture:
    """The gate's answer for a picture: upright size and a small JPEG, or the sentence that says why there is none.

    `key` is that of `picture_key`: a data URI can have 35 MB.
    """

    key: str
    size: Size | None = None
    thumbnail: bytes = b""
    sentence: str = ""
    is_refused: bool = False


def picture_key(source: str | Path | None) -> str:
    return hashlib.sha256(str(source or "").encode("utf-8", "replace")).hexdigest()


def size_of(seen: SeenPicture | None, source: str | Path | None) -> Size | None:
    """The upright size of `source`, if `seen` is about it."""
    return seen.size if seen is not None and seen.key == picture_key(source) else None


class PictureCheck:
    """`seen` is the session's last answer of the gate, `box` the place below the picture that shows it."""

    def __init__(self, jobs: JobService, settings: Settings, seen: gr.State, box: gr.HTML) -> None:
        self.seen = seen
        self.box = box
        self._jobs = jobs
        self._settings = settings

    async def read(
        self, request: gr.Request, seen: SeenPicture | None, picture: str | None, address: str
    ) -> AsyncIterator[dict[Component, Any]]:
        """Pass the chosen picture through the gate, unless it is the one in `seen`."""
        source = picture_source(picture, address)
        if source is None or (seen is not None and seen.key == picture_key(source)):
            yield {self.seen: seen if source else None}
            return
        yield {self.box: reading()}
        with as_gradio_error():
            yield {self.seen: await self._read(source, request)}

    async def _read(self, source: str | Path, request: gr.Request) -> SeenPicture:
        key = picture_key(source)
        try:
            peer = request.client.host if request.client else None
            client = client_of(dict(request.headers), peer, self._settings, request.username)
            preview = await self._jobs.preview_picture(source, client)
        except WanError as error:
            return SeenPicture(key, sentence=error.message, is_refused=isinstance(error, InputError))
        return SeenPicture(key, preview.size, preview.thumbnail)

    def show(
        self,
        seen: SeenPicture | None,
        picture: str | None,
        address: str,
        resolution: Resolution,
        aspect_ratio: AspectRatio,
    ) -> str:
        """The thumbnail for the chosen size, or the sentence; empty while the picture is not known."""
        known = size_of(seen, picture_source(picture, address))
        return self._show(seen, picture, address, known and geometry.frame_size(resolution, aspect_ratio, known))

    def show_end(
        self,
        seen: SeenPicture | None,
        picture: str | None,
        address: str,
        first: SeenPicture | None,
        resolution: Resolution,
        aspect_ratio: AspectRatio,
    ) -> str:
        """As `show`, for a picture that is cropped to the frames of the `first` one."""
        known = first.size if first and first.size else size_of(seen, picture_source(picture, address))
        return self._show(seen, picture, address, known and geometry.frame_size(resolution, aspect_ratio, known))

    def _show(self, seen: SeenPicture | None, picture: str | None, address: str, frame: Size | None) -> str:
        if seen is None or seen.key != picture_key(picture_source(picture, address)):
            return ""
        if seen.size is None or frame is None:
            said = escape(translate_made(seen.sentence))
            return f'<p class="said {"fault" if seen.is_refused else "small"}" role="alert">{said}</p>'
        words = translate(SEEN)
        thumbnail, data = cropped(seen.thumbnail, frame)
        return (
            f'<figure class="said"><img src="{data}" width="{thumbnail.width}" height="{thumbnail.height}" '
            f'alt="{words}"><figcaption>{words}</figcaption></figure>'
        )


def cropped(picture: bytes, frame: Size) -> tuple[Size, str]:
    """The part of `picture` that becomes a frame of that size, at most THUMBNAIL_SIDE a side, as a WebP data URI."""
    scale = THUMBNAIL_SIDE / max(frame.width, frame.height)
    size = Size(max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
    stored = BytesIO()
    with Image.open(BytesIO(picture)) as whole:
        geometry.fit(whole.convert("RGB"), size).save(stored, "WEBP", quality=80)
    return size, f"data:image/webp;base64,{base64.b64encode(stored.getvalue()).decode()}"
