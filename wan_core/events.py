"""A job and the events of its life, as frozen values that cross threads and processes as JSON.

Knows nothing of who runs a job or who watches it. Only paths travel, never pictures or frames.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from wan_core.geometry import Size
from wan_core.schema import ImageToVideoInput

Where = Literal["local", "fal", "fal_when_needed"]
Status = Literal["queued", "running", "done", "failed", "cancelled"]
StageName = Literal["checking", "expanding", "loading", "sampling", "decoding", "interpolating", "encoding", "fal"]
LogLevel = Literal["INFO", "WARN", "ERROR"]


@dataclass(frozen=True)
class Job:
    """One request on its way. `id` is also the request id and the file name; knowing it is the right to it.

    `request.seed` is always set, `request.image_url` is empty when the picture came as bytes: `picture` is the upright
    RGB PNG beside the job. `frames_of` names the job whose kept frames are finished again, without diffusion.
    """

    id: str
    request: ImageToVideoInput
    picture: Path
    size: Size
    engine: str
    where: Where = "local"
    frames_of: str | None = None
    prompt_in_file: bool = True

    def to_json(self) -> str:
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plain |= {"request": self.request.model_dump(), "picture": str(self.picture), "size": asdict(self.size)}
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> "Job":
        plain: dict[str, Any] = json.loads(text)
        plain["request"] = ImageToVideoInput.model_construct(**plain["request"])
        return cls(**plain | {"picture": Path(plain["picture"]), "size": Size(**plain["size"])})


@dataclass(frozen=True)
class Queued:
    """Waiting; `position` jobs are ahead."""

    position: int


@dataclass(frozen=True)
class Stage:
    """A new stage has begun; `detail` is one sentence for the visitor, or empty."""

    name: StageName
    detail: str = ""


@dataclass(frozen=True)
class Step:
    """`done` of `total` steps of a stage are finished; `seconds_left` of the whole job where a model knows it."""

    stage: StageName
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True)
class Preview:
    """A small animated picture of what is being made."""

    path: Path


@dataclass(frozen=True)
class Log:
    """A sentence for the log of the job."""

    message: str
    level: LogLevel = "INFO"


@dataclass(frozen=True)
class Note:
    """A sentence that belongs to the result: what was not done as asked, and why."""

    message: str


@dataclass(frozen=True)
class Heartbeat:
    """Still alive, nothing new (while loading or compiling)."""


@dataclass(frozen=True)
class FramesMade:
    """What `make_frames` ends with: the raw frames, uint8 (T, H, W, 3) .npy, and the interpolated ones if any."""

    raw: Path
    interpolated: Path | None = None


@dataclass(frozen=True)
class Result:
    """A finished clip. `notes` say in full sentences what was not done as asked; `fal_url` is the copy at fal."""

    clip: Path
    prompt: str
    seed: int
    size: Size
    frames: int
    fps: int
    engine: str
    stage_seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fal_url: str | None = None


@dataclass(frozen=True)
class Finished:
    """The clip is there."""

    result: Result


@dataclass(frozen=True)
class Failed:
    """The job ended without a clip; `message` is for the visitor, `type` one of fal's words or ours."""

    type: str
    message: str
    field: str | None = None


@dataclass(frozen=True)
class Stopped:
    """The job was cancelled."""


Event = Queued | Stage | Step | Preview | Log | Note | Heartbeat | FramesMade | Finished | Failed | Stopped
Outcome = Finished | Failed | Stopped
KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (Queued, Stage, Step, Preview, Log, Note, Heartbeat, FramesMade, Finished, Failed, Stopped)
}


def to_json(event: Event) -> str:
    """One line of JSON; `from_json` gives an equal event back."""
    return json.dumps({"event": type(event).__name__, **asdict(event)}, default=str)


def from_json(line: str) -> Event:
    plain: dict[str, Any] = json.loads(line)
    kind = KINDS[plain.pop("event")]
    if kind is Finished:
        return Finished(result_from(plain["result"]))
    return kind(**{name: _as_path(name, value) for name, value in plain.items()})


def result_from(plain: dict[str, Any]) -> Result:
    """A result from what `asdict` and JSON made of it."""
    return Result(
        **plain | {"clip": Path(plain["clip"]), "size": Size(**plain["size"]), "notes": tuple(plain["notes"])}
    )


def _as_path(name: str, value: Any) -> Any:
    return Path(value) if name in ("path", "raw", "interpolated") and value is not None else value
