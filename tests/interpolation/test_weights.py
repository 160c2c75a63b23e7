"""Fetching weights: a loopback hub that answers, one that is silent, and the notes that are kept of both."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from wan_core.interpolation import _weights as weights
from wan_core.interpolation import choose, interpolated
from wan_core.interpolation._weights import REVISION, Hub, Published, obtain
from wan_core.weights import Unavailable

Frame = NDArray[np.uint8]
CONTENT = b"the published bytes " * 50


class FakeShelf:
    """A hub on one table: `content` is what comes, None is a dead line."""

    def __init__(self, folder: Path, content: bytes | None = CONTENT) -> None:
        self.path = folder / "weights.safetensors"
        self.content = content
        self.asked = 0

    def cached(self, file: Published) -> Path | None:
        return self.path if self.path.exists() else None

    def download(self, file: Published) -> Path:
        self.asked += 1
        if self.content is None:
            raise Unavailable("the hub cannot be reached")
        self.path.write_bytes(self.content)
        return self.path


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both published files are a kilobyte here; FILM's checksum is known, RIFE's is not, as in earnest."""
    sha = hashlib.sha256(CONTENT).hexdigest()
    for name, digest in (("film", sha), ("rife", None)):
        small = replace(weights.PUBLISHED[name], bytes=len(CONTENT), sha256=digest)
        monkeypatch.setitem(weights.PUBLISHED, name, small)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "interpolation"


def aged(folder: Path, seconds: float) -> None:
    for note in folder.glob("*.failure"):
        os.utime(note, (note.stat().st_atime, note.stat().st_mtime - seconds))


def test_what_is_pinned_is_one_revision_and_whole_checksums() -> None:
    assert len(REVISION) == 40
    assert all(file.path.endswith(".safetensors") for file in weights.PUBLISHED.values()), "no pickle"


def test_a_file_is_downloaded_once_and_then_taken_from_the_cache(tmp_path: Path, folder: Path) -> None:
    shelf = FakeShelf(tmp_path)
    assert obtain("film", folder, shelf) == obtain("film", folder, shelf) == shelf.path
    assert shelf.asked == 1


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"!", b""])
def test_a_file_that_is_not_the_published_one_is_refused_and_forgotten(
    tmp_path: Path, folder: Path, content: bytes
) -> None:
    shelf = FakeShelf(tmp_path, content)
    with pytest.raises(Unavailable, match="not the published one"):
        obtain("film", folder, shelf)
    assert not shelf.path.exists()
    assert choose("film", 1, folder, shelf).used == "fallback"


def test_where_no_checksum_is_published_the_first_download_is_recorded_and_holds(tmp_path: Path, folder: Path) -> None:
    shelf = FakeShelf(tmp_path)
    obtain("rife", folder, shelf)
    assert (folder / "rife.sha256").read_text() == hashlib.sha256(CONTENT).hexdigest()
    shelf.path.write_bytes(bytes(reversed(CONTENT)))
    with pytest.raises(Unavailable, match="not the published one"):
        obtain("rife", folder, shelf)


def test_even_without_a_checksum_the_length_must_fit(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(Unavailable):
        obtain("rife", folder, FakeShelf(tmp_path, CONTENT + b"x"))
    assert not (folder / "rife.sha256").exists()


def test_a_failure_is_remembered_for_ten_minutes_for_that_file_alone(tmp_path: Path, folder: Path) -> None:
    shelf = FakeShelf(tmp_path, None)
    for _ in range(3):
        with pytest.raises(Unavailable, match="cannot be reached"):
            obtain("film", folder, shelf)
    assert shelf.asked == 1
    aged(folder, 590)
    with pytest.raises(Unavailable):
        obtain("film", folder, shelf)
    assert shelf.asked == 1, "asking again does not begin the ten minutes anew, nor end them"
    with pytest.raises(Unavailable):
        obtain("rife", folder, shelf)
    assert shelf.asked == 2
    aged(folder, 20)
    shelf.content = CONTENT
    assert obtain("film", folder, shelf) == shelf.path
    assert not (folder / "film.failure").exists()


def test_weights_that_arrive_by_another_way_are_used_at_once(tmp_path: Path, folder: Path) -> None:
    shelf = FakeShelf(tmp_path, None)
    with pytest.raises(Unavailable):
        obtain("film", folder, shelf)
    shelf.path.write_bytes(CONTENT)
    assert obtain("film", folder, shelf) == shelf.path


def test_a_folder_that_cannot_be_written_costs_the_notes_and_not_the_clip(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert choose("film", 1, tmp_path / "file" / "folder", FakeShelf(tmp_path, None)).used == "fallback"


@pytest.mark.parametrize("model", ["film", "rife"])
def test_with_weights_the_network_that_was_asked_for_runs_and_nothing_needs_saying(
    tmp_path: Path, folder: Path, model: str
) -> None:
    shelf = FakeShelf(tmp_path)
    chosen = choose(model, 2, folder, shelf)  # type: ignore[arg-type]
    assert (chosen.used, chosen.note, chosen.weights, chosen.is_network) == (model, "", shelf.path, True)


@pytest.mark.parametrize(("model", "count"), [("none", 3), ("film", 0), ("rife", 0)])
def test_nothing_is_downloaded_where_nothing_is_to_be_made(
    tmp_path: Path, folder: Path, model: str, count: int
) -> None:
    shelf = FakeShelf(tmp_path)
    chosen = choose(model, count, folder, shelf)  # type: ignore[arg-type]
    assert (chosen.used, chosen.note, shelf.asked) == ("none", "", 0)


@pytest.mark.parametrize(("model", "title"), [("film", "FILM"), ("rife", "RIFE")])
def test_without_weights_the_fallback_delivers_the_clip_and_says_so_in_one_sentence(
    tmp_path: Path, folder: Path, model: str, title: str, random_frames: Callable[..., list[Frame]]
) -> None:
    chosen = choose(model, 3, folder, FakeShelf(tmp_path, None))  # type: ignore[arg-type]
    assert chosen.used == "fallback" and not chosen.is_network
    assert chosen.note == (
        f"{title}'s weights could not be downloaded (the hub cannot be reached): optical flow makes the frames between."
    )
    frames = random_frames(6)
    film = list(interpolated(frames, 3, chosen))
    assert len(film) == 21
    assert all(ours is theirs for ours, theirs in zip(film[::4], frames, strict=True))


def test_hf_hub_offline_is_honoured_without_a_socket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("opened a socket"))
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE"):
        obtain("film", folder, Hub(tmp_path / "cache"))


Gate = threading.Event


@pytest.fixture
def loopback_hub() -> Iterator[Callable[..., SimpleNamespace]]:
    """A hub that serves CONTENT as any file; `pieces` of it, then silence until the test is over."""
    over = threading.Event()
    servers: list[ThreadingHTTPServer] = []

    def start(pieces: int = 1, of: int = 1) -> SimpleNamespace:
        seen: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def _head(self) -> None:
                seen.append(f"{self.command} {self.path}")
                self.send_response(200)
                self.send_header("ETag", f'"{hashlib.sha256(CONTENT).hexdigest()}"')
                self.send_header("X-Repo-Commit", REVISION)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()

            def do_HEAD(self) -> None:
                self._head()

            def do_GET(self) -> None:
                self._head()
                self.wfile.write(CONTENT[: len(CONTENT) * pieces // of])
                if pieces < of:
                    over.wait(20)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", seen=seen)

    yield start
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_hub_library_fetches_the_pinned_revision_once(
    tmp_path: Path, folder: Path, loopback_hub: Callable[..., SimpleNamespace]
) -> None:
    hub = loopback_hub()
    shelf = Hub(tmp_path / "cache", endpoint=hub.url)
    for _ in range(2):
        assert obtain("film", folder, shelf).read_bytes() == CONTENT
    path = f"/Comfy-Org/frame_interpolation/resolve/{REVISION}/frame_interpolation/film_net_fp16.safetensors"
    assert [line for line in hub.seen if line.startswith("GET")] == [f"GET {path}"]


def test_a_download_that_falls_silent_is_given_up(
    tmp_path: Path, folder: Path, loopback_hub: Callable[..., SimpleNamespace]
) -> None:
    with pytest.raises(Unavailable, match=r"nothing came from the hub for 0\.3 s"):
        obtain("film", folder, Hub(tmp_path / "cache", loopback_hub(1, 2).url, patience_s=0.3))


def test_a_machine_without_network_is_told_at_once(tmp_path: Path, folder: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound but not listening: every connection is refused
        hub = Hub(tmp_path / "cache", f"http://127.0.0.1:{nobody.getsockname()[1]}", patience_s=30)
        start = time.monotonic()
        with pytest.raises(Unavailable, match="cannot be reached"):
            obtain("film", folder, hub)
    assert time.monotonic() - start < 5


def test_a_network_that_swallows_everything_costs_the_patience_and_no_more(tmp_path: Path, folder: Path) -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        hub = Hub(tmp_path / "cache", f"http://127.0.0.1:{hole.getsockname()[1]}", patience_s=0.3)
        start = time.monotonic()
        chosen = choose("film", 1, folder, hub)
        assert time.monotonic() - start < 3
        assert chosen.used == "fallback"
        again = choose("film", 1, folder, Hub(tmp_path / "cache", "http://127.0.0.1:9", patience_s=1_000))
    assert again == chosen, "remembered, not tried again"
