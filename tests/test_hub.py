"""Published weights: fetched from a loopback hub, verified, loaded once, and a failure is not repeated in each job."""

import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread
from threading import enumerate as threads
from types import SimpleNamespace

import huggingface_hub.constants
import pytest

from tests.support import hub as loopback
from tests.support.hub import REVISION
from wan_core.errors import Cancelled
from wan_core.events import Event, Log, Stage, Step
from wan_core.hub import (
    RETRY_S,
    Hub,
    LoadedOnce,
    Notes,
    NotOffered,
    NotStored,
    Pin,
    Unavailable,
    WrongFile,
    fetch,
    find_cached,
    missing_shards,
)

REPO, FILE = "someone/something", "folder/model.safetensors"
CONTENT = bytes(range(256)) * 400
PIECE = 10_240
PIN = Pin(REPO, REVISION, {FILE: hashlib.sha256(CONTENT).hexdigest()}, {FILE: len(CONTENT)}, (FILE,), "Something")
UNPUBLISHED = replace(PIN, sha256={FILE: None})
HELLO = Pin(
    "someone/something",
    "1" * 40,
    {"model.safetensors": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
)


@pytest.fixture
def server(tmp_path: Path, reachable_hub: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback.Hub]:
    """A hub with the published file, a README and a pickle, whose client tells of every 10 KB instead of 10 MB."""
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", PIECE)
    folder = tmp_path / "published"
    (folder / FILE).parent.mkdir(parents=True)
    (folder / FILE).write_bytes(CONTENT)
    (folder / "model.bin").write_bytes(b"pickle")
    (folder / "README.md").write_text("Hello.")
    with loopback.serving(folder, REPO) as server:
        yield server
    for thread in [thread for thread in threads() if thread.name == "download"]:
        thread.join(timeout=10)  # one that was given up ends with its server


@pytest.fixture
def hub(server: loopback.Hub, tmp_path: Path) -> Hub:
    return Hub(tmp_path / "cache", server.url)


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes" / "something")


def age(notes: Notes, seconds: float) -> None:
    assert notes.stem is not None
    failure = notes.stem.with_name("something.failure")
    os.utime(failure, (failure.stat().st_atime, failure.stat().st_mtime - seconds))


def put_into_cache(cache: Path, pin: Pin, content: bytes) -> None:
    folder = cache / f"models--{pin.repo.replace('/', '--')}" / "snapshots" / str(pin.revision)
    for name in pin.sha256:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


# What comes


def test_what_is_pinned_is_downloaded_once_and_then_taken_from_the_cache(server: loopback.Hub, hub: Hub) -> None:
    assert find_cached(PIN, hub) is None
    first = fetch(PIN, hub=hub)
    assert (first / FILE).read_bytes() == CONTENT
    server.shutdown()
    assert fetch(PIN, hub=hub) == find_cached(PIN, hub) == first
    assert server.asked == [FILE] and server.questions == 1, "one question to the hub"


def test_only_files_that_match_the_pin_are_fetched(server: loopback.Hub, hub: Hub) -> None:
    (server.folder / "config.json").write_text("{}")
    fetch(Pin(REPO, REVISION), hub=hub)
    assert sorted(server.asked) == ["config.json", FILE]


def test_a_branch_is_fetched_at_the_commit_it_names(server: loopback.Hub, hub: Hub) -> None:
    branch = replace(PIN, revision="main")
    assert fetch(branch, hub=hub).name == REVISION
    assert find_cached(branch, hub) is not None


def test_a_local_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert fetch(Pin(str(tmp_path), None, {"absent": "0" * 64})) == tmp_path


def test_a_download_tells_what_it_is_how_far_it_is_and_what_came(hub: Hub) -> None:
    events: list[Event] = []
    fetch(PIN, events.append, hub=hub)
    assert events[0] == Stage("loading", "Downloading Something: 0.0 GB, once.")
    assert events[-1] == Log(f"Something is revision {REVISION[:12]} of {REPO}.")
    steps = [event.done for event in events if isinstance(event, Step)]
    assert steps == sorted(steps) and steps[-1] == 100
    again: list[Event] = []
    fetch(PIN, again.append, hub=hub)
    assert again == [], "nothing was downloaded"


def test_progress_is_told_while_bytes_come_and_a_download_that_falls_silent_is_given_up(
    server: loopback.Hub, hub: Hub
) -> None:
    server.stalls = True
    events: list[Event] = []
    with pytest.raises(Unavailable, match="nothing came from the hub for 1 s"):
        fetch(PIN, events.append, hub=replace(hub, silence_s=1))
    done = [event.done for event in events if isinstance(event, Step)]
    assert done and done[-1] == 50, "half of the file came"


def test_whoever_hears_of_a_download_can_stop_it(server: loopback.Hub, hub: Hub) -> None:
    server.stalls = True

    def cancel(event: Event) -> None:
        if isinstance(event, Step):
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch(PIN, cancel, hub=hub)
    assert find_cached(PIN, hub) is None


def test_a_model_that_lacks_a_shard_of_its_index_is_not_complete(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    index = '{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}}'
    (tmp_path / "part" / "model.safetensors.index.json").write_text(index)
    (tmp_path / "part" / "1.safetensors").touch()
    assert missing_shards(tmp_path) == ["part/2.safetensors"]


# What is not the published file


def test_weights_are_taken_from_the_hubs_cache_when_their_digest_is_the_pinned_one(empty_cache: Path) -> None:
    put_into_cache(empty_cache, HELLO, b"hello")
    assert (fetch(HELLO) / "model.safetensors").read_bytes() == b"hello"


def test_swapped_weights_are_not_loaded(empty_cache: Path) -> None:
    put_into_cache(empty_cache, HELLO, b"something else")
    with pytest.raises(WrongFile) as caught:
        fetch(HELLO)
    assert caught.value.file == "model.safetensors"
    put_into_cache(empty_cache, HELLO, b"something else")
    with pytest.raises(Unavailable, match="the model something is not on this machine"):
        LoadedOnce(HELLO, lambda folder: pytest.fail("was loaded")).get()


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"!", b""], ids=["short", "changed", "empty"])
def test_a_file_that_is_not_the_published_one_is_refused_and_deleted(
    server: loopback.Hub, hub: Hub, notes: Notes, content: bytes
) -> None:
    (server.folder / FILE).write_bytes(content)
    with pytest.raises(WrongFile, match="not the published one"):
        fetch(PIN, notes=notes, hub=hub)
    assert find_cached(PIN, hub) is None
    (server.folder / FILE).write_bytes(CONTENT)
    shutil.rmtree(hub.folder())  # the client's own list of files there knows the swapped one
    age(notes, RETRY_S + 1)
    assert (fetch(PIN, notes=notes, hub=hub) / FILE).read_bytes() == CONTENT


def test_where_no_checksum_is_published_the_first_download_is_recorded_and_holds(hub: Hub, notes: Notes) -> None:
    folder = fetch(UNPUBLISHED, notes=notes, hub=hub)
    assert notes.stem is not None
    assert (notes.stem.parent / "something.sha256").read_text() == hashlib.sha256(CONTENT).hexdigest()
    (folder / FILE).write_bytes(bytes(reversed(CONTENT)))
    with pytest.raises(Unavailable, match="not the published one"):
        fetch(UNPUBLISHED, notes=notes, hub=hub)


def test_even_without_a_checksum_the_length_must_fit(server: loopback.Hub, hub: Hub, notes: Notes) -> None:
    (server.folder / FILE).write_bytes(CONTENT + b"x")
    with pytest.raises(Unavailable):
        fetch(UNPUBLISHED, notes=notes, hub=hub)
    assert notes.read("sha256") is None


# What does not come


def test_a_failure_is_remembered_for_ten_minutes_for_that_pin_alone(
    server: loopback.Hub, hub: Hub, notes: Notes, tmp_path: Path
) -> None:
    with loopback.closed_port() as address:
        dead = replace(hub, endpoint=address)
        with pytest.raises(Unavailable, match="cannot be reached"):
            fetch(PIN, notes=notes, hub=dead)
    for seconds in (0, 590):
        age(notes, seconds)
        with pytest.raises(Unavailable, match="cannot be reached"):
            fetch(PIN, notes=notes, hub=hub)
    assert server.questions == 0, "asking again does not begin the ten minutes anew, nor end them"
    fetch(replace(PIN, files=("README.md",), sha256={}), notes=Notes(tmp_path / "other"), hub=hub)
    age(notes, 20)
    assert (fetch(PIN, notes=notes, hub=hub) / FILE).is_file()
    assert notes.read("failure") is None


def test_weights_that_arrive_by_another_way_are_used_at_once(hub: Hub, notes: Notes) -> None:
    notes.write("failure", "the hub cannot be reached")
    put_into_cache(hub.folder(), PIN, CONTENT)
    assert (fetch(PIN, notes=notes, hub=hub) / FILE).is_file()


def test_a_machine_without_network_is_told_at_once(reachable_hub: None, tmp_path: Path) -> None:
    with loopback.closed_port() as address:
        start = time.monotonic()
        with pytest.raises(Unavailable, match="cannot be reached"):
            fetch(PIN, hub=Hub(tmp_path / "cache", address, silence_s=30))
    assert time.monotonic() - start < 5


def test_a_network_that_swallows_everything_costs_the_patience_and_no_more(
    reachable_hub: None, tmp_path: Path, notes: Notes
) -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        swallowing = Hub(tmp_path / "cache", f"http://127.0.0.1:{hole.getsockname()[1]}", silence_s=0.3)
        start = time.monotonic()
        with pytest.raises(Unavailable) as first:
            fetch(PIN, notes=notes, hub=swallowing)
        assert time.monotonic() - start < 3
        with pytest.raises(Unavailable, match=str(first.value)):
            fetch(PIN, notes=notes, hub=replace(swallowing, silence_s=1_000))


def test_hf_hub_offline_is_honoured_without_a_socket(monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> None:
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("opened a socket"))
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE"):
        fetch(PIN)


@pytest.mark.parametrize("wrong", [replace(PIN, revision="f" * 40), replace(PIN, repo="nobody/nothing")])
def test_what_the_hub_does_not_have_is_told_from_a_broken_line(hub: Hub, wrong: Pin) -> None:
    with pytest.raises(NotOffered):
        fetch(wrong, hub=hub)


def test_a_file_that_the_pinned_commit_lacks_is_not_offered(hub: Hub) -> None:
    with pytest.raises(NotOffered, match=r"absent\.safetensors"):
        fetch(replace(PIN, sha256=dict(PIN.sha256) | {"absent.safetensors": "0" * 64}), hub=hub)


def test_too_little_disk_is_said_before_anything_is_downloaded(
    server: loopback.Hub, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(NotStored, match="the disk is full") as caught:
        fetch(PIN, hub=hub)
    assert (caught.value.needed, caught.value.free, server.asked) == (len(CONTENT), 1000, [])


def test_a_cache_that_cannot_be_written_is_no_missing_network(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotStored, match="could not be stored"):
        fetch(PIN, hub=replace(hub, cache=tmp_path / "file" / "cache"))


def test_a_folder_that_cannot_be_written_costs_the_notes_alone(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert (fetch(PIN, notes=Notes(tmp_path / "file" / "notes" / "something"), hub=hub) / FILE).is_file()


# What is loaded once


def test_a_model_is_loaded_once_for_all_threads(tmp_path: Path) -> None:
    loads: list[Path] = []
    model = LoadedOnce(Pin(str(tmp_path)), lambda folder: loads.append(folder) or "model")
    together, got = Barrier(8), []

    def ask() -> None:
        together.wait()
        got.append(model.get())

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["model"] * 8 and len(loads) == 1


def test_a_failed_load_is_tried_again_only_after_a_while(tmp_path: Path) -> None:
    now, tries = [0.0], []

    def load(folder: Path) -> str:
        tries.append(now[0])
        if len(tries) < 2:
            raise OSError
        return "model"

    model = LoadedOnce(Pin(str(tmp_path)), load, clock=lambda: now[0])
    for now[0] in (0.0, 1.0, RETRY_S - 1):
        with pytest.raises(Unavailable):
            model.get()
    now[0] = RETRY_S
    assert model.get() == "model" and tries == [0.0, RETRY_S]
