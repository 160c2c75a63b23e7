"""What all tests share: a clean environment and a folder for data."""

import gc
import os
import re
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import certifi
import numpy as np
import pytest
from hypothesis import settings

from wan_core.files import FileStore

if TYPE_CHECKING:
    from tests.support.faulty_fal import FaultyFal

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ

if IS_WORKER:
    gc.disable()  # what is imported and collected stays; see pytest_collection_finish
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads of several workers would wait for each other
    with mock.patch("inspect.getfile", side_effect=OSError):  # or gradio writes a .pyi for each component, for seconds
        import gradio  # noqa: F401

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
settings.load_profile("untimed")

HOST_VARIABLES = ("FAL_KEY", "HF_TOKEN", "SPACE_ID", "SPACE_HOST", "SPACES_ZERO_GPU", "GRADIO_SERVER_NAME")

MEET_OTHERS = ("online", "client", "security", "fault", "browser", "cluster")
"""Marks of tests whose programs may need the certificates of the machine."""
MARK_OF_FOLDER = {"browser": "browser", "clients": "client", "security": "security", "faults": "fault"}
MEMORY, ROOM = Path("/dev/shm"), 8_000_000_000
"""Where parallel tests write, if so many bytes are free: a disk that syncs its database costs each service 40 ms."""
MARK_OF_FILE = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.(\w+)", re.MULTILINE)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    reruns = getattr(config, "failures_db", None)
    if to_controller := getattr(reruns, "sock", None):  # in a worker
        to_controller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each test waits 40 ms for an ACK
    if not IS_WORKER and config.getoption("numprocesses", None) and memory_has_room():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def memory_has_room() -> bool:
    """Free pages of the machine, and a folder in memory that takes as much and runs programs."""
    if not MEMORY.is_dir() or os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < ROOM:
        return False
    folder = os.statvfs(MEMORY)
    return folder.f_bavail * folder.f_frsize > ROOM and not folder.f_flag & os.ST_NOEXEC


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare the imports of folders and files whose every test would be deselected."""
    mark = MARK_OF_FOLDER.get(collection_path.name)
    if collection_path.match("test_*.py") and (of_file := MARK_OF_FILE.search(collection_path.read_text("utf-8"))):
        mark = of_file[1]
    unwanted = re.fullmatch(r"not \(([\w ]*)\)", str(config.getoption("markexpr")))
    return True if unwanted and mark in unwanted[1].split(" or ") else None


def pytest_collection_finish() -> None:
    """Modules and tests are here to stay: the collector need not walk them again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def unmade(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders that are made only by who writes into them."""
    root = tmp_path_factory.mktemp("unmade")
    return (root / str(number) for number in count())


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with one of the certificates that are trusted everywhere: all of them cost each client 40 ms of CPU."""
    end = "-----END CERTIFICATE-----\n"
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    file.write_text(Path(certifi.where()).read_text("utf-8").partition(end)[0] + end, "utf-8")
    return str(file)


def forget_host_variables(patch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WAN_")] + list(HOST_VARIABLES):
        patch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def clean_from_the_start() -> Iterator[None]:
    """What a module or the session shares does not depend on the host's variables either."""
    with pytest.MonkeyPatch.context() as patch:
        forget_host_variables(patch)
        yield


@pytest.fixture(autouse=True)
def clean_environment(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, unmade: Iterator[Path], one_authority: str
) -> None:
    """No test depends on the host's variables, and none writes into the checkout."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else next(unmade)
    forget_host_variables(monkeypatch)
    monkeypatch.setenv("WAN_DATA_DIR", str(folder / "data"))
    if not any(map(request.node.get_closest_marker, MEET_OTHERS)):
        monkeypatch.setenv("SSL_CERT_FILE", one_authority)
        monkeypatch.setattr(certifi, "where", lambda: one_authority)


@pytest.fixture
def data(tmp_path: Path) -> FileStore:
    folder = FileStore(tmp_path / "data")
    folder.root.mkdir()
    return folder


@pytest.fixture
def reachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client speaks to loopback servers even where HF_HUB_OFFLINE is set."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any weights and without a network; the folder where the hub would keep them."""
    import huggingface_hub.constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The same sums in the same order every time, in every process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real mp4: five frames of 64×48 at 16 a second."""
    from wan_core import encoding
    from wan_core.geometry import Size

    frames = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3), np.uint8)
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    encoding.encode(frames, path, size=Size(64, 48), fps=16, quality="low", write_mode="fast")
    return path.read_bytes()


@pytest.fixture
def fal(small_clip: bytes) -> "Iterator[FaultyFal]":
    """A fal of our own on loopback, as good or as bad as the test wants."""
    from tests.support.faulty_fal import faulty_fal

    with faulty_fal(small_clip) as running:
        yield running
