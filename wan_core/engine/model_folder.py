"""Find a model's files: in a local folder, or on the Hub and in its cache.

What is returned is complete; a failure is one sentence for the host. Knows no torch and no device.
"""

import json
from pathlib import Path
from typing import Any

from wan_core import hub
from wan_core.download_progress import Report
from wan_core.errors import BackendError
from wan_core.hub import GB, Hub, NotOffered, NotStored, Pin, Unavailable, WrongFile, missing_shards
from wan_core.profiles import EngineProfile
from wan_core.settings import Settings

PARTS = ("text_encoder", "tokenizer", "transformer", "transformer_2", "vae", "scheduler")
SUFFIXES = ("json", "safetensors", "model", "txt")
WANTED = ("model_index.json", *(f"{part}/*.{suffix}" for part in PARTS for suffix in SUFFIXES))


def find_model(profile: EngineProfile, settings: Settings, report: Report) -> Path:
    """Return the folder of the whole model: WAN_MODEL if set, else the profile's repository.

    Raises:
        BackendError: `engine_unavailable` (network, name or content), `storage_full`.
    """
    name = settings.model or profile.repo
    if name is None:
        raise ValueError(f"The profile {profile.name} names no repository.")
    revision = settings.model_revision or (profile.revision if name == profile.repo else None)
    folder = fetch(Pin(name, revision, files=WANTED, title=profile.title), settings, report)
    _check_is_wan(folder, name)
    return folder


def fetch(pin: Pin, settings: Settings, report: Report) -> Path:
    """Return the folder with the files of `pin`, downloading what is missing.

    Raises:
        BackendError: as `find_model`.
    """
    try:
        return hub.fetch(pin, report, hub=Hub(token=settings.hf_token))
    except Unavailable as error:
        raise _as_backend_error(error, pin) from error


def _as_backend_error(error: Unavailable, pin: Pin) -> BackendError:
    match error:
        case NotStored(needed=0):
            return BackendError("storage_full", f"The weights of {pin.title} could not be stored on this disk.")
        case NotStored():
            sentence = (
                f"{pin.title} needs {error.needed / GB:.1f} GB of disk for its weights and {error.free / GB:.1f} GB "
                "are free. Free some, point HF_HOME at a larger disk, or name a smaller mirror in WAN_MODEL."
            )
            return BackendError("storage_full", sentence)
        case NotOffered():
            at = f" at revision {pin.revision}" if pin.revision else ""
            sentence = (
                f"The Hub offers no model {pin.repo}{at} to this machine. Check WAN_MODEL and WAN_MODEL_REVISION; "
                "a private or gated model needs HF_TOKEN."
            )
        case WrongFile():
            sentence = (
                f"{error.file} of {pin.title} cannot be used: its content is not the published one. "
                "It was deleted; load it again."
            )
        case _:
            sentence = (
                f"The weights of {pin.title} are not complete on this machine and the Hugging Face Hub cannot be "
                "reached. Connect the machine, or name a folder that holds the model in WAN_MODEL."
            )
    return BackendError("engine_unavailable", sentence)


def _check_is_wan(folder: Path, name: str) -> None:
    index = folder / "model_index.json"
    parts: dict[str, Any] = json.loads(index.read_text("utf-8")) if index.is_file() else {}
    if parts.get("_class_name") != "WanImageToVideoPipeline" or not (folder / "transformer_2").is_dir():
        raise BackendError(
            "engine_unavailable", f"{name} holds no Wan 2.2 image-to-video model with two experts. Check WAN_MODEL."
        )
    if lost := missing_shards(folder):
        raise BackendError(
            "engine_unavailable", f"{name} is not complete: {lost[0]} and {len(lost) - 1} more files are missing."
        )
