"""The picture box takes uploads only, undecoded; nothing on the page makes Gradio fetch an address."""

import asyncio
import os
from pathlib import Path

import gradio as gr
import pytest
from gradio.data_classes import FileData
from PIL import Image

from wan_core import intake, ui
from wan_core.errors import InputError
from wan_core.ui.pictures import (
    UploadedImage,
    copy_to_uploads,
    leave_addresses_to_intake,
    remove_unfinished_uploads,
)


def test_an_uploaded_file_passes_as_it_is(uploads: Path) -> None:
    file = uploads / "a.png"
    file.write_bytes(b"not even a picture")
    assert UploadedImage(type="filepath").preprocess(FileData(path=str(file))) == str(file)
    assert ui.uploads_folder() == uploads


@pytest.mark.parametrize("path", ["/etc/passwd", "/dev/zero", "../../etc/passwd", "data:image/png;base64,xx", "a\0b"])
def test_a_path_that_was_not_uploaded_goes_no_further_than_intake(uploads: Path, path: str) -> None:
    given = UploadedImage(type="filepath").preprocess(FileData(path=path))
    assert given is not None
    reading = intake.read(
        Path(given), Image.Image.copy, fetch=intake.Fetcher(), local=lambda url: None, uploads=ui.uploads_folder()
    )
    with pytest.raises(InputError, match="not among the uploads"):
        asyncio.run(reading)


def test_an_empty_box_is_no_picture() -> None:
    assert UploadedImage(type="filepath").preprocess(None) is None


def test_gradio_leaves_an_address_where_it_is(uploads: Path) -> None:
    with gr.Blocks():
        box = gr.Textbox()
    leave_addresses_to_intake(box)
    address = "http://192.0.2.1/a.png"
    assert asyncio.run(box.async_move_resource_to_block_cache(address)) == address


def test_what_is_lent_is_a_copy_in_the_upload_folder(uploads: Path, tmp_path: Path) -> None:
    own = tmp_path / "clip.mp4"
    own.write_bytes(b"mp4")
    assert Path(copy_to_uploads(own)).is_relative_to(uploads) and Path(copy_to_uploads(own)).read_bytes() == b"mp4"


def test_what_is_left_of_broken_uploads_goes_and_all_else_stays(uploads: Path) -> None:
    finished, fresh, broken = uploads / "ab12" / "tmp.png", uploads / "tmp_new", uploads / "tmp_old"
    finished.parent.mkdir()
    for file in (finished, fresh, broken):
        file.write_bytes(b"x")
    for file in (finished, broken):
        os.utime(file, (0, 0))
    remove_unfinished_uploads()
    assert finished.is_file() and fresh.is_file() and not broken.exists()
