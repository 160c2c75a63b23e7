"""The published weights: where they are, what they must be, how they are fetched. No torch.

One try with a limit on silence; a failure is remembered, so that a machine without network loses ten seconds in ten
minutes and not in every job. What cannot be proved to be the published file is never handed out: size and SHA-256 are
pinned, or the SHA-256 of the first download is kept and holds from then on.
"""

import errno
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Protocol

from wan_core.weights import Unavailable, sha256_of

log = logging.getLogger(__name__)

REPOSITORY = "Comfy-Org/frame_interpolation"
REVISION = "219da3c9d8c357ceaf457fc1d5932c6e861b8dee"
REMEMBERED_S = 600
PATIENCE_S = 10


@dataclass(frozen=True)
class Published:
    """One file of the repository. `sha256` is None where nobody has published it: then the first download decides."""

    title: str
    path: str
    bytes: int
    sha256: str | None


PUBLISHED = {
    "film": Published(
        "FILM",
        "frame_interpolation/film_net_fp16.safetensors",
        68_882_302,
        "f226e51375dc839d4b40e5c3d63da560dd1ea1c962364ec78f5adf2d05db05c0",
    ),
    "rife": Published("RIFE", "frame_interpolation/rife_v4.25.safetensors", 22_674_688, None),
}


class Shelf(Protocol):
    """Where published files come from."""

    def cached(self, file: Published) -> Path | None: ...

    def download(self, file: Published) -> Path: ...


class Hub:
    """The Hugging Face hub and its cache; HF_HUB_OFFLINE, HF_TOKEN and HF_HOME work as everywhere."""

    def __init__(self, cache: Path | None = None, endpoint: str | None = None, patience_s: float = PATIENCE_S) -> None:
        self._cache = cache
        self._endpoint = endpoint
        self._patience_s = patience_s

    def cached(self, file: Published) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(REPOSITORY, file.path, cache_dir=self._cache, revision=REVISION)
        return Path(found) if isinstance(found, str) else None

    def download(self, file: Published) -> Path:
        """One try, given up after `patience_s` without a byte. Raises Unavailable."""
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            raise Unavailable("HF_HUB_OFFLINE is set")
        outcome: SimpleQueue[Path | Exception] = SimpleQueue()
        pulse = Pulse()
        Thread(target=self._fetch, args=(file, pulse, outcome), daemon=True).start()
        while (got := _next(outcome)) is None:
            if pulse.silent_for_s() > self._patience_s:
                raise Unavailable(f"nothing came from the hub for {self._patience_s:g} s")
        if isinstance(got, Path):
            return got
        log.warning("%s: %s", file.path, got)
        full = isinstance(got, OSError) and got.errno == errno.ENOSPC
        raise Unavailable("the disk is full" if full else "the hub cannot be reached")

    def _fetch(self, file: Published, pulse: "Pulse", outcome: SimpleQueue[Path | Exception]) -> None:
        """Runs in a thread that may be left behind: once it has begun, the hub library retries for minutes.

        Hence one question first, without retries, which a machine without network fails at once.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

        try:
            url = hf_hub_url(REPOSITORY, file.path, revision=REVISION, endpoint=self._endpoint)
            get_hf_file_metadata(url, timeout=self._patience_s, endpoint=self._endpoint)
            found = hf_hub_download(
                REPOSITORY,
                file.path,
                revision=REVISION,
                cache_dir=self._cache,
                endpoint=self._endpoint,
                tqdm_class=pulse.listener(),
            )
        except Exception as error:  # noqa: BLE001  (httpx's errors, httpx2's or Xet's, by the library's version)
            outcome.put(error)
        else:
            outcome.put(Path(found))


class Pulse:
    """When the last bytes came."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def silent_for_s(self) -> float:
        return time.monotonic() - self._last

    def listener(self) -> type[Any]:
        """A mute progress bar for the hub library, which tells it of every piece that arrives."""
        from tqdm import tqdm  # type: ignore[import-untyped]

        pulse = self

        class Listener(tqdm):  # type: ignore[misc]
            def __init__(self, *args: object, **options: object) -> None:
                super().__init__(*args, **(options | {"disable": True}))

            def update(self, n: float | None = 1) -> bool | None:
                pulse._last = time.monotonic()
                return None

        return Listener


def obtain(name: str, folder: Path, shelf: Shelf) -> Path:
    """The verified file of the interpolator `name`, downloaded if need be. Raises Unavailable.

    `folder` keeps what is known: failures of the last ten minutes, and SHA-256 sums that nobody has published.
    """
    file, failure = PUBLISHED[name], folder / f"{name}.failure"
    path = shelf.cached(file)
    if path is None:
        _raise_remembered(failure)
    try:
        path = path or shelf.download(file)
        _verify(path, file, folder / f"{name}.sha256")
    except Unavailable as error:
        _note(failure, str(error))
        raise
    _forget(failure)
    return path


def _raise_remembered(failure: Path) -> None:
    if failure.exists() and time.time() - failure.stat().st_mtime < REMEMBERED_S:
        raise Unavailable(failure.read_text())


def _note(file: Path, text: str) -> None:
    with suppress(OSError):  # a full disk has no room for notes; the clip matters more
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def _forget(file: Path) -> None:
    with suppress(OSError):  # it may not be there, or not ours to delete
        file.unlink()


def _next(outcome: SimpleQueue[Path | Exception]) -> Path | Exception | None:
    try:
        return outcome.get(timeout=0.05)
    except Empty:
        return None


def _verify(path: Path, file: Published, record: Path) -> None:
    """Refuse (and forget) a file that is not the published one."""
    digest = sha256_of(path)
    expected = file.sha256 or (record.read_text() if record.exists() else digest)
    if (path.stat().st_size, digest) != (file.bytes, expected):
        log.error("%s has %s bytes and sha256 %s", path, path.stat().st_size, digest)
        _forget(path.resolve())
        raise Unavailable("the file that came is not the published one")
    if file.sha256 is None:
        _note(record, digest)
