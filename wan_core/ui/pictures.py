"""The picture box of the page, and the door between Gradio's own file handling and our intake.

Gradio would decode uploads, and fetch any address that stands in an event's data, before our functions are called.
Here uploads stay undecoded files of the upload folder, and no component fetches anything: both are intake's work.
"""

import shutil
from pathlib import Path

import gradio as gr
from gradio.components import Component
from gradio.data_classes import FileData
from gradio.utils import get_upload_folder

from wan_core.errors import InputError

NOT_UPLOADED = "This picture is not among the uploads. Upload it again."


def uploads_folder() -> Path:
    """Where Gradio puts what visitors upload."""
    return Path(get_upload_folder())


def uploaded_file(path: str | None) -> Path:
    """The uploaded file at `path`.

    Raises:
        InputError: it is no regular file under the upload folder.
    """
    file = Path(path or "").resolve()
    if not file.is_relative_to(uploads_folder().resolve()) or not file.is_file():
        raise InputError("image_url", "file_download_error", NOT_UPLOADED)
    return file


def lend(file: Path) -> str:
    """A copy of a file of ours in the upload folder: Gradio serves it from there and sweeps it with the uploads."""
    folder = uploads_folder() / "lent"
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / file.name
    if not copy.is_file():
        shutil.copyfile(file, copy)
    return str(copy)


class UploadedImage(gr.Image):
    """`gr.Image` that takes only a file this visitor uploaded, and hands over its path undecoded."""

    is_template = True  # keeps the front end of `image`

    def preprocess(self, payload: FileData | None) -> str | None:  # type: ignore[override]
        if payload is None:
            return None
        try:
            return str(uploaded_file(payload.path))
        except InputError as error:
            raise gr.Error(error.message, title="Picture", print_exception=False) from None


def leave_addresses_to_intake(component: Component) -> None:
    """Keep Gradio from fetching an address that arrives as a file in the data of `component`: it stays an address."""
    fetch_or_copy = component.async_move_resource_to_block_cache

    async def copy_only(source: str | Path | None) -> str | None:
        if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
            return source
        return await fetch_or_copy(source)

    setattr(component, "async_move_resource_to_block_cache", copy_only)  # noqa: B010  (a method, to mypy)
