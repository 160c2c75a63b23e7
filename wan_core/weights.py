"""Weights that somebody else has published: pinned, fetched from the hub, verified, loaded once.

Only safetensors, JSON and text ever arrive, at a pinned commit and with a known SHA-256, so nothing that is fetched can
run. Knows neither torch nor what the models do; a room with needs of its own (a progress bar over 126 GB, a limit on
silence) fetches by itself and takes from here what it means to have no weights.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

HARMLESS_FILES = ["*.safetensors", "*.json", "*.txt"]
RETRY_S = 300.0  # a job every few seconds must not mean a download attempt every few seconds

Model = TypeVar("Model")


class Unavailable(Exception):
    """Weights cannot be had or used; the message is the middle of a sentence for the visitor."""


@dataclass(frozen=True)
class Pin:
    """A model at one commit. `repo` is a hub id or a local folder; `sha256` holds the weight files' digests."""

    repo: str
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)


def folder_of(pin: Pin) -> Path:
    """The folder with the files of `pin`, downloaded if need be. A local folder is taken as it is.

    Raises:
        OSError: neither the cache nor the hub has them.
        ValueError: a weight file is not the one that was pinned.
    """
    if Path(pin.repo).is_dir():
        return Path(pin.repo)
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(pin.repo, revision=pin.revision, allow_patterns=HARMLESS_FILES))
    for name, digest in pin.sha256.items():
        if sha256_of(folder / name) != digest:
            raise ValueError(f"{name} of {pin.repo} does not have the pinned SHA-256.")
    return folder


def sha256_of(file: Path) -> str:
    """The digest of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class LoadedOnce(Generic[Model]):
    """A model that is loaded by the first who needs it, and then stays. A failure is remembered for `RETRY_S`."""

    def __init__(self, pin: Pin, load: Callable[[Path], Model], clock: Callable[[], float] = time.monotonic) -> None:
        self._pin, self._load, self._clock = pin, load, clock
        self._lock = Lock()
        self._model: Model | None = None
        self._failed_at: float | None = None

    def get(self) -> Model:
        """The model, after a wait while it loads.

        Raises:
            Unavailable: its weights are not here and cannot be fetched, or do not fit.
        """
        with self._lock:
            if self._model is None:
                self._model = self._try()
            return self._model

    def _try(self) -> Model:
        now = self._clock()
        if self._failed_at is None or now - self._failed_at >= RETRY_S:
            try:
                return self._load(folder_of(self._pin))
            except Exception:  # the hub, safetensors, transformers and torch share no narrower class
                log.warning("The model %s cannot be loaded.", self._pin.repo, exc_info=True)
                self._failed_at = now
        raise Unavailable(f"the model {Path(self._pin.repo).name} is not on this machine and could not be fetched")
