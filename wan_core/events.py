"""A job and the events of its life: frozen values that cross threads, processes and machines as JSON.

They hold file ids, never paths, pictures or frames. Knows nothing of who runs a job or who watches it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, WrapValidator

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.geometry import Size
from wan_core.schema import ImageToVideoInput

Where = Literal["local", "fal", "fal_when_needed"]
Status = Literal["queued", "running", "done", "failed", "cancelled"]
StageName = Literal["checking", "expanding", "loading", "sampling", "decoding", "interpolating", "encoding", "fal"]
LogLevel = Literal["INFO", "WARN", "ERROR"]


def _accepted(value: object, _: object) -> ImageToVideoInput:
    """Inputs that were judged when the job was accepted. Since then `image_url` may be empty, so not judged again."""
    if isinstance(value, dict) and {"image_url", "prompt"} <= value.keys():
        return ImageToVideoInput.model_construct(**value)
    if isinstance(value, ImageToVideoInput):
        return value
    raise ValueError("no inputs of an accepted job")


@dataclass(frozen=True)
class JobOptions:
    """How a request is carried out: what page and presets choose, and HTTP leaves to the defaults."""

    engine: str
    where: Where = "local"
    prompt_in_file: bool = True


@dataclass(frozen=True)
class Group:
    """The jobs that were accepted together: `position` (from 0) of `size`."""

    id: str
    position: int
    size: int


@dataclass(frozen=True)
class Job:
    """One request on its way. `id` is also the request id and the file name; knowing it is the right to it.

    `inputs.seed` is always set; a picture field is empty when its picture came as bytes. `files` maps each picture
    field to the id of its picture. `frames_of` names the job whose kept frames are finished again, without diffusion.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    inputs: Annotated[ImageToVideoInput, WrapValidator(_accepted)]
    size: Size
    options: JobOptions
    files: Mapping[str, str]
    endpoint: str = IMAGE_TO_VIDEO.id
    frames_of: str | None = None
    group: Group | None = None

    @property
    def picture(self) -> str:
        """The id of the picture that becomes the first frame."""
        return self.files["image_url"]


@dataclass(frozen=True)
class Queued:
    """Waiting; `position` jobs are ahead."""

    position: int
    event: Literal["Queued"] = field(default="Queued", kw_only=True, repr=False)


@dataclass(frozen=True)
class Stage:
    """A new stage has begun; `detail` is one sentence for the visitor, or empty."""

    name: StageName
    detail: str = ""
    event: Literal["Stage"] = field(default="Stage", kw_only=True, repr=False)


@dataclass(frozen=True)
class Step:
    """`done` of `total` steps of a stage are finished; `seconds_left` of the whole job where a model knows it."""

    stage: StageName
    done: int
    total: int
    seconds_left: float | None = None
    event: Literal["Step"] = field(default="Step", kw_only=True, repr=False)


@dataclass(frozen=True)
class Preview:
    """The job's preview, a small animated picture, has been written anew."""

    event: Literal["Preview"] = field(default="Preview", kw_only=True, repr=False)


@dataclass(frozen=True)
class Log:
    """A sentence for the log of the job."""

    message: str
    level: LogLevel = "INFO"
    event: Literal["Log"] = field(default="Log", kw_only=True, repr=False)


@dataclass(frozen=True)
class Note:
    """A sentence that belongs to the result: what was not done as asked, and why."""

    message: str
    event: Literal["Note"] = field(default="Note", kw_only=True, repr=False)


@dataclass(frozen=True)
class Heartbeat:
    """Still alive, nothing new (while loading or compiling)."""

    event: Literal["Heartbeat"] = field(default="Heartbeat", kw_only=True, repr=False)


@dataclass(frozen=True)
class FramesMade:
    """The raw frames are there, and the interpolated ones if a network made some."""

    interpolated: bool = False
    event: Literal["FramesMade"] = field(default="FramesMade", kw_only=True, repr=False)


@dataclass(frozen=True)
class Result:
    """A finished clip. `notes` say in full sentences what was not done as asked; `fal_url` is the copy at fal."""

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
    event: Literal["Finished"] = field(default="Finished", kw_only=True, repr=False)


@dataclass(frozen=True)
class Failed:
    """The job ended without a clip; `message` is for the visitor, `type` one of fal's words or ours."""

    event: Literal["Failed"] = field(default="Failed", kw_only=True, repr=False)
    type: str
    message: str
    field: str | None = None


@dataclass(frozen=True)
class Stopped:
    """The job was cancelled."""

    event: Literal["Stopped"] = field(default="Stopped", kw_only=True, repr=False)


Outcome = Annotated[Finished | Failed | Stopped, Field(discriminator="event")]
Event = Annotated[
    Queued | Stage | Step | Preview | Log | Note | Heartbeat | FramesMade | Finished | Failed | Stopped,
    Field(discriminator="event"),
]

JOB: TypeAdapter[Job] = TypeAdapter(Job)
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


def to_json(event: Event) -> str:
    """One line of JSON; `from_json` gives an equal event back."""
    return EVENT.dump_json(event).decode()


def from_json(line: str) -> Event:
    """Raises ValueError for what is no event."""
    return EVENT.validate_json(line)
