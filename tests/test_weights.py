"""Published weights: what is pinned is what is loaded, once for all, and a failure is not repeated for each job."""

from pathlib import Path
from threading import Barrier, Thread

import pytest

from wan_core.weights import RETRY_S, LoadedOnce, Pin, Unavailable, folder_of

HELLO = Pin(
    "someone/something",
    "1" * 40,
    {"model.safetensors": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
)


def put_into_cache(cache: Path, pin: Pin, content: bytes) -> None:
    folder = cache / f"models--{pin.repo.replace('/', '--')}" / "snapshots" / str(pin.revision)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(content)


def test_weights_are_taken_from_the_hubs_cache_when_their_digest_is_the_pinned_one(empty_cache: Path) -> None:
    put_into_cache(empty_cache, HELLO, b"hello")
    assert (folder_of(HELLO) / "model.safetensors").read_bytes() == b"hello"


def test_swapped_weights_are_not_loaded(empty_cache: Path) -> None:
    put_into_cache(empty_cache, HELLO, b"something else")
    with pytest.raises(ValueError, match="SHA-256"):
        folder_of(HELLO)
    with pytest.raises(Unavailable, match="the model something is not on this machine"):
        LoadedOnce(HELLO, lambda folder: pytest.fail("was loaded")).get()


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
