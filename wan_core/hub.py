"""Pinned weights from the Hugging Face Hub: fetched, verified, loaded once. No torch here.

Never code or a pickle. A failure is remembered: offline jobs must not each wait ten seconds.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from errno import ENOSPC
from fnmatch import fnmatch
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from pydantic import SecretStr

from wan_core.download_progress import Progress, Report
from wan_core.events import Event, Log, Stage, Step

log = logging.getLogger(__name__)

HARMLESS_FILES = ("*.safetensors", "*.json", "*.txt")
RETRY_S = 600.0  # after a failure
QUESTION_S = 10.0
SILENCE_S = 60.0  # the hub's client reports every 10 MB
GB = 10**9

Model = TypeVar("Model")
T = TypeVar("T")


class Unavailable(Exception):
    """The message is the middle of a sentence."""


class NotOffered(Unavailable):
    """No such repository or revision, or not for this machine."""


class WrongFile(Unavailable):
    """It is deleted, so that the next try downloads it again."""

    def __init__(self, file: str) -> None:
        super().__init__("the file that came is not the published one")
        self.file = file


class NotStored(Unavailable):
    """In bytes, 0 if unknown."""

    def __init__(self, message: str = "the disk is full", needed: int = 0, free: int = 0) -> None:
        super().__init__(message)
        self.needed, self.free = needed, free


@dataclass(frozen=True)
class Pin:
    """Files of a repository at one commit.

    `repo`: hub id or local folder. `files`: names or patterns. `sha256`: of weights; `None` (one file at most) trusts
    the first download. `bytes`: known lengths.
    """

    repo: str
    revision: str | None = None
    sha256: Mapping[str, str | None] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    files: tuple[str, ...] = HARMLESS_FILES
    title: str = ""


@dataclass(frozen=True)
class Hub:
    """HF_HUB_OFFLINE, HF_TOKEN, HF_HOME and HF_ENDPOINT apply. `silence_s`: without progress a download ends."""

    cache: Path | None = None
    endpoint: str | None = None
    token: SecretStr | None = None
    silence_s: float = SILENCE_S

    def options(self, pin: Pin) -> dict[str, Any]:
        token = self.token.get_secret_value() if self.token else None
        return {"repo_id": pin.repo, "revision": pin.revision, "token": token, "endpoint": self.endpoint}

    def folder(self) -> Path:
        from huggingface_hub import constants

        return self.cache or Path(constants.HF_HUB_CACHE)


@dataclass(frozen=True)
class Notes:
    """Beside `stem`: the last failure in `.failure`, the first download's digest in `.sha256`."""

    stem: Path | None = None

    def read(self, kind: str, younger_than_s: float = float("inf")) -> str | None:
        file = self._file(kind)
        if file is None or not file.exists() or time.time() - file.stat().st_mtime >= younger_than_s:
            return None
        return file.read_text("utf-8")

    def write(self, kind: str, text: str) -> None:
        if file := self._file(kind):
            with suppress(OSError):  # a full disk must not fail the job
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, "utf-8")

    def delete(self, kind: str) -> None:
        if file := self._file(kind):
            _delete(file)

    def _file(self, kind: str) -> Path | None:
        return self.stem and self.stem.with_name(f"{self.stem.name}.{kind}")


def _ignore(event: Event) -> None:
    """Drop the event."""


def fetch(pin: Pin, report: Report = _ignore, notes: Notes | None = None, hub: Hub | None = None) -> Path:
    """The verified folder of `pin`, from the cache or the hub; a local one as it is. `report` may raise.

    Raises:
        Unavailable: out of reach (now, or less than `RETRY_S` ago), too large, or not what was pinned.
    """
    if Path(pin.repo).is_dir():
        return Path(pin.repo)
    hub, notes = hub or Hub(), notes or Notes()
    folder = find_cached(pin, hub)
    if folder is None and (failure := notes.read("failure", RETRY_S)):
        raise Unavailable(failure)
    try:
        folder = folder or _download(pin, hub, report)
        _verify(pin, folder, notes)
    except Unavailable as error:
        notes.write("failure", str(error))
        raise
    notes.delete("failure")
    return folder


def find_cached(pin: Pin, hub: Hub | None = None) -> Path | None:
    """The folder if all files are cached; no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    hub = hub or Hub()
    place: dict[str, Any] = {"allow_patterns": list(pin.files), "cache_dir": hub.folder(), "local_files_only": True}
    try:
        folder = Path(snapshot_download(**hub.options(pin), **place))
    except LocalEntryNotFoundError:
        return None
    names = {*pin.sha256, *(name for name in pin.files if "*" not in name)}
    return None if missing_shards(folder) or any(not (folder / name).exists() for name in names) else folder


def missing_shards(folder: Path) -> list[str]:
    """Left out by an interrupted download."""
    indexes = folder.glob("**/*.safetensors.index.json")
    maps = {index.parent: json.loads(index.read_text("utf-8"))["weight_map"] for index in indexes}
    named = {part / shard for part, shards in maps.items() for shard in shards.values()}
    return sorted(str(path.relative_to(folder)) for path in named if not path.exists())


def sha256_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(pin: Pin, folder: Path, notes: Notes) -> None:
    for name, published in pin.sha256.items():
        file = folder / name
        if not file.is_file():
            raise NotOffered(f"the hub has no {name}")
        size, digest = file.stat().st_size, sha256_of(file)
        expected = published or notes.read("sha256") or digest
        if (size, digest) != (pin.bytes.get(name, size), expected):
            log.error("%s has %s bytes and sha256 %s", file, size, digest)
            _delete(file.resolve())
            raise WrongFile(name)
        if published is None:
            notes.write("sha256", digest)


def _delete(file: Path) -> None:
    with suppress(OSError):  # missing, or not ours to delete
        file.unlink()


def _download(pin: Pin, hub: Hub, report: Report) -> Path:
    """Asks for the size first: later the library tries a dead hub for minutes."""
    from huggingface_hub import constants, snapshot_download

    if constants.HF_HUB_OFFLINE:
        raise Unavailable("HF_HUB_OFFLINE is set")
    total = _ask_size(pin, hub)
    _check_disk(total, hub)
    report(Stage("loading", f"Downloading {pin.title or pin.repo}: {total / GB:.1f} GB, once."))
    progress = Progress(total)
    place: dict[str, Any] = {
        "allow_patterns": list(pin.files),
        "cache_dir": hub.folder(),
        "tqdm_class": progress.bar_class(),
    }
    folder = Path(_watch(progress, lambda: snapshot_download(**hub.options(pin), **place), hub.silence_s, report))
    report(Step("loading", 100, 100, 0))
    report(Log(f"{pin.title or pin.repo} is revision {folder.name[:12]} of {pin.repo}."))
    return folder


def _ask_size(pin: Pin, hub: Hub) -> int:
    patience_s = min(QUESTION_S, hub.silence_s)
    return _watch(Progress(), lambda: _missing_bytes(pin, hub, patience_s), patience_s, _ignore)


def _watch(progress: Progress, client: Callable[[], T], silence_s: float, report: Report) -> T:
    try:
        return progress.watch(lambda: _call(client), silence_s, report)
    except TimeoutError:
        raise Unavailable(f"nothing came from the hub for {silence_s:g} s") from None


def _missing_bytes(pin: Pin, hub: Hub, timeout_s: float) -> int:
    from huggingface_hub import HfApi, try_to_load_from_cache

    options = hub.options(pin)
    api = HfApi(endpoint=options.pop("endpoint"))
    info = api.model_info(**options, files_metadata=True, timeout=timeout_s)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    wanted = [name for name in sizes if any(fnmatch(name, pattern) for pattern in pin.files)]
    cached = {name: try_to_load_from_cache(pin.repo, name, hub.folder(), info.sha) for name in wanted}
    return sum(sizes[name] for name in wanted if not isinstance(cached[name], str))


def _check_disk(needed: int, hub: Hub) -> None:
    cache = hub.folder()
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise NotStored(needed=needed, free=free)


def _call(client: Callable[[], T]) -> T:
    try:
        return client()
    except Exception as error:  # httpx's errors, httpx2's or Xet's, by the library's version
        log.warning("The hub's client failed: %s", error)
        raise _unavailable(error) from error


def _unavailable(error: BaseException) -> Unavailable:
    from huggingface_hub import errors

    transport = tuple(import_module(name).HTTPError for name in ("httpx", "httpx2") if find_spec(name))
    match error:
        case errors.RepositoryNotFoundError() | errors.RevisionNotFoundError() | errors.GatedRepoError():
            return NotOffered("the hub does not offer it to this machine")
        case errors.HfHubHTTPError() | errors.LocalEntryNotFoundError() | ConnectionError() | TimeoutError():
            return Unavailable("the hub cannot be reached")
        case OSError() if not isinstance(error, transport):
            return NotStored() if error.errno == ENOSPC else NotStored("it could not be stored on this disk")
    return Unavailable("the hub cannot be reached")


class LoadedOnce(Generic[Model]):
    """A failure is remembered for `RETRY_S`."""

    def __init__(self, pin: Pin, load: Callable[[Path], Model], clock: Callable[[], float] = time.monotonic) -> None:
        self._pin, self._load, self._clock = pin, load, clock
        self._lock = Lock()
        self._model: Model | None = None
        self._failed_at: float | None = None

    def get(self) -> Model:
        """Raises Unavailable if the weights cannot be fetched or loaded."""
        with self._lock:
            if self._model is None:
                self._model = self._try()
            return self._model

    def _try(self) -> Model:
        now = self._clock()
        if self._failed_at is None or now - self._failed_at >= RETRY_S:
            try:
                return self._load(fetch(self._pin))
            except Exception:  # the hub, safetensors, transformers and torch share no narrower class
                log.warning("The model %s cannot be loaded.", self._pin.repo, exc_info=True)
                self._failed_at = now
        raise Unavailable(f"the model {Path(self._pin.repo).name} is not on this machine and could not be fetched")
