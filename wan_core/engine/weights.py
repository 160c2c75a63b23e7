"""Where a model's files are: in a folder of this machine, in the Hub's cache, or on the Hub and then in the cache.

Only safetensors and their configuration are ever fetched, at a pinned revision, and never code. Knows no torch and no
device. Guarantees: what is returned is complete; what is missing, too large or out of reach is said in one sentence.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from wan_core.errors import BackendError
from wan_core.events import Event, Log, Stage, Step
from wan_core.profiles import EngineProfile
from wan_core.settings import Settings

PARTS = ("text_encoder", "tokenizer", "transformer", "transformer_2", "vae", "scheduler")
SUFFIXES = ("json", "safetensors", "model", "txt")
WANTED = ["model_index.json", *(f"{part}/*.{suffix}" for part in PARTS for suffix in SUFFIXES)]
GB = 10**9
TRANSPORT_ERRORS = tuple(import_module(name).HTTPError for name in ("httpx", "httpx2") if find_spec(name))
"""What a broken line raises: hub 1.x speaks through httpx, 2.x through httpx2."""

Report = Callable[[Event], None]


def folder_of(profile: EngineProfile, settings: Settings, report: Report) -> Path:
    """The folder with the whole model of `profile`: WAN_MODEL if it is set, else the profile's own repository.

    Raises:
        BackendError: `engine_unavailable` (network, name or content), `storage_full`.
    """
    name = settings.model or profile.repo
    if name is None:
        raise ValueError(f"The profile {profile.name} names no repository.")
    folder = Path(name)
    if not folder.is_dir():
        revision = settings.model_revision or (profile.revision if name == profile.repo else None)
        folder = fetch(name, revision, WANTED, profile.title, settings, report)
    _check_is_wan(folder, name)
    return folder


def fetch(repo: str, revision: str | None, wanted: list[str], title: str, settings: Settings, report: Report) -> Path:
    """The cached folder of `repo` at `revision` with all files that match `wanted`; downloads what is missing."""
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    source: dict[str, Any] = {"repo_id": repo, "revision": revision, "allow_patterns": wanted, "token": token}
    try:
        folder = Path(snapshot_download(**source, local_files_only=True))
        if not missing_files(folder):
            return folder
    except LocalEntryNotFoundError:
        pass  # nothing cached yet
    try:
        return _download(source, title, report)
    except (DryRunError, HfHubHTTPError, LocalEntryNotFoundError, *TRANSPORT_ERRORS) as error:
        raise _unavailable(repo, revision, title, error) from error
    except OSError as error:
        raise BackendError("storage_full", f"The weights of {title} could not be stored on this disk.") from error


def missing_files(folder: Path) -> list[str]:
    """The weight files that the model's own indexes name and that are not there (an interrupted download)."""
    indexes = folder.glob("*/*.safetensors.index.json")
    named = {index.parent / shard for index in indexes for shard in _json(index)["weight_map"].values()}
    return sorted(str(path.relative_to(folder)) for path in named if not path.exists())


def _download(source: dict[str, Any], title: str, report: Report) -> Path:
    files = snapshot_download(**source, dry_run=True)
    total = sum(file.file_size or 0 for file in files if file.will_download)
    _check_disk(total, title)
    report(Stage("loading", f"Downloading {title}: {total / GB:.1f} GB, once."))
    folder = Path(snapshot_download(**source, tqdm_class=_bar(total, report)))
    report(Step("loading", 100, 100, 0))
    report(Log(f"{title} is revision {folder.name[:12]} of {source['repo_id']}."))
    return folder


def _check_disk(needed: int, title: str) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise BackendError(
            "storage_full",
            f"{title} needs {needed / GB:.1f} GB of disk for its weights and {free / GB:.1f} GB are free. Free some, "
            "point HF_HOME at a larger disk, or name a smaller mirror in WAN_MODEL.",
        )


def _bar(total: int, report: Report) -> type[tqdm]:
    """A progress bar that tells percents instead of drawing; the hub's threads share it."""
    began, lock = time.monotonic(), threading.Lock()
    told = [0]

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.counts_bytes = kwargs.get("unit") == "B"
            super().__init__(*args, **kwargs | {"disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            with lock:
                self.n += n or 0
                percent = int(min(99, 100 * self.n / max(total, 1)))
                if self.counts_bytes and percent > told[0]:
                    told[0] = percent
                    report(Step("loading", percent, 100, (time.monotonic() - began) * (100 / percent - 1)))

    return Bar


def _unavailable(repo: str, revision: str | None, title: str, error: Exception) -> BackendError:
    cause = error.__cause__ if isinstance(error, DryRunError) else error
    if isinstance(cause, RepositoryNotFoundError | RevisionNotFoundError | GatedRepoError):
        at = f" at revision {revision}" if revision else ""
        sentence = (
            f"The Hub offers no model {repo}{at} to this machine. Check WAN_MODEL and WAN_MODEL_REVISION; "
            "a private or gated model needs HF_TOKEN."
        )
    else:
        sentence = (
            f"The weights of {title} are not complete on this machine and the Hugging Face Hub cannot be reached. "
            "Connect the machine, or name a folder that holds the model in WAN_MODEL."
        )
    return BackendError("engine_unavailable", sentence)


def _check_is_wan(folder: Path, name: str) -> None:
    index = folder / "model_index.json"
    parts = _json(index) if index.is_file() else {}
    if parts.get("_class_name") != "WanImageToVideoPipeline" or not (folder / "transformer_2").is_dir():
        raise BackendError(
            "engine_unavailable", f"{name} holds no Wan 2.2 image-to-video model with two experts. Check WAN_MODEL."
        )
    if lost := missing_files(folder):
        raise BackendError(
            "engine_unavailable", f"{name} is not complete: {lost[0]} and {len(lost) - 1} more files are missing."
        )


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content
