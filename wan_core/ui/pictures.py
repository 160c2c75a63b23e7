"""The picture box, and what keeps Gradio's own file handling away from intake's work.

Trap: Gradio decodes uploads, and fetches any address in an event's data, before our functions are called.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import gradio as gr
from gradio.components import Component
from gradio.data_classes import FileData
from gradio.utils import get_upload_folder

from wan_core.files import UPLOADED, FileStore, atomic_write, new_file_id
from wan_core.intake.formats import HEAD_BYTES, check_format
from wan_core.intake.refusals import reported_at
from wan_core.intake.uploads import uploaded
from wan_core.ui.event_kinds import BROWSER
from wan_core.ui.languages import translate

UNFINISHED_S = 900  # an upload that has stood still this long has missed its deadline


def uploads_folder() -> Path:
    return Path(get_upload_folder())


def copy_to_uploads(file: Path) -> str:
    """A copy of `file` in the upload folder, which Gradio serves and sweeps. Written atomically: two tabs may race."""
    folder = uploads_folder() / "lent"
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / file.name
    try:
        os.utime(copy)  # in use again: the oldest unused copies go first
    except FileNotFoundError:
        with atomic_write(copy) as part:
            shutil.copyfile(file, part)
    return str(copy)


def keep_picture(path: str, files: FileStore) -> str:
    """Copy an upload of the page to where requests can name it; returns that name. `path` is untrusted.

    It stays an upload: Gradio keeps equal files once, so the form or another visitor may show it too.

    Raises:
        InputError: it is not among the uploads, or no picture.
    """
    with reported_at("image_url"):
        file = uploaded(Path(path), uploads_folder())
        with file.open("rb") as opened:
            suffix = check_format(opened.read(HEAD_BYTES)).suffix
    name = f"{new_file_id()}.{suffix}"
    with atomic_write(files.uploads / name) as part:
        shutil.copyfile(file, part)
    return UPLOADED + name


def picture_source(picture: str | None, address: str | None) -> str | Path | None:
    """The uploaded file, else the address; `None` without either."""
    return Path(picture) if picture else (address or "").strip() or None


def remove_unfinished_uploads() -> None:
    """Remove what is left of uploads that broke off: Gradio 6.31 keeps it for ever, under a temporary name."""
    too_old = time.time() - UNFINISHED_S
    for file in uploads_folder().glob("tmp*"):
        with suppress(FileNotFoundError):
            if file.is_file() and file.stat().st_mtime < too_old:
                file.unlink()


class UploadedImage(gr.Image):
    """`gr.Image` that hands over the path of the upload, undecoded. The path is untrusted."""

    is_template = True  # keeps the front end of `image`
    chosen: gr.Textbox
    """The path, hidden: its `change` tells of another picture. Gradio clones the picture's own value whenever it is
    an input of a queued event, and takes the clone for a change."""

    def preprocess(self, payload: FileData | None) -> str | None:  # type: ignore[override]
        return payload.path if payload else None


def upload_box(name: str, label: str) -> UploadedImage:
    box = UploadedImage(
        label=label,
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        height=200,
        elem_id=name,
        buttons=["fullscreen"],
        placeholder=translate("Drop a picture here, paste one, or click to choose"),
    )
    box.chosen = gr.Textbox(label=f"{label} chosen", elem_id=f"{name}-chosen", visible="hidden")
    box.change(inputs=[box], outputs=[box.chosen], js="picture => picture?.path ?? ''", **BROWSER)
    return box


def leave_addresses_to_intake(component: Component) -> None:
    """Keep Gradio from fetching an address that arrives as a file in the data of `component`."""
    fetch_or_copy = component.async_move_resource_to_block_cache

    async def copy_only(source: str | Path | None) -> str | None:
        if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
            return source
        return await fetch_or_copy(source)

    setattr(component, "async_move_resource_to_block_cache", copy_only)  # noqa: B010  (a method, to mypy)
