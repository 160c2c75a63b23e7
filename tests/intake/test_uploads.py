import os
import socket
from pathlib import Path

import pytest

from wan_core.intake.refusals import Refused
from wan_core.intake.uploads import open_regular, uploaded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An upload folder with one picture, beside a secret."""
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "uploads"
    (folder / "ab12").mkdir(parents=True)
    (folder / "ab12" / "photo.png").write_bytes(b"photo")
    return folder


def test_an_upload_is_found_and_opened(folder: Path) -> None:
    with open_regular(uploaded(folder / "ab12" / "photo.png", folder), 5) as file:
        assert file.read() == b"photo"


def test_the_folder_itself_may_be_reached_through_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert uploaded(tmp_path / "link" / "ab12" / "photo.png", tmp_path / "link").name == "photo.png"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "ab12/../../secret.png",
        "/etc/hostname",
        "/dev/zero",
        "/proc/self/environ",
        "ab12",
        ".",
        "ab12/missing.png",
        "ab12/photo.png/x",
        "a" * 300,
        "a/" * 3000,
        "photo\x00.png",
        "../uploads-of-another/photo.png",
        "link-to-secret.png",
        "link-to-photo.png",
        "link-to-itself.png",
        "link-to-outside/secret.png",
        "pipe.png",
        "socket.png",
    ],
)
def test_everything_that_is_not_a_file_in_the_folder_is_refused_with_one_sentence(folder: Path, path: str) -> None:
    outside = folder.parent / "uploads-of-another"
    outside.mkdir()
    (outside / "photo.png").write_bytes(b"theirs")
    (folder / "link-to-secret.png").symlink_to(folder.parent / "secret.png")
    (folder / "link-to-photo.png").symlink_to(folder / "ab12" / "photo.png")
    (folder / "link-to-itself.png").symlink_to(folder / "link-to-itself.png")
    (folder / "link-to-outside").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "socket.png"))
        with pytest.raises(Refused) as refused:
            open_regular(uploaded(folder / path, folder), 5)
    assert (refused.value.type, refused.value.context) == ("file_download_error", {})
    assert refused.value.message == "This file is not among the uploads. Upload it again."


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "missing"])
def test_a_path_of_our_own_is_opened_only_if_it_is_a_regular_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(Refused):
        open_regular(path, 5)


def test_a_file_above_the_limit_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"123456")
    with pytest.raises(Refused) as refused:
        open_regular(tmp_path / "large", 5)
    assert (refused.value.type, refused.value.context) == ("file_too_large", {"max_size": 5})
