"""A job and its events: frozen values that travel as JSON. File ids, never paths or pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, WrapValidator

from wan_core.cutting import WHOLE, Cut
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.geometry import Size
from wan_core.schema import ImageToVideoInput

Where = Literal["local", "fal", "fal_when_needed"]
Status = Literal["queued", "running", "done", "failed", "cancelled"]
StageName = Literal["checking", "expanding", "loading", "sampling", "decoding", "interpolating", "encoding", "fal"]
LogLevel = Literal["INFO", "WARN", "ERROR"]


def _accepted(value: object, _: object) -> ImageToVideoInput:
    """Skip validation: `image_url` may have been emptied since."""
    if isinstance(value, dict) and {"image_url", "prompt"} <= value.keys():
        return ImageToVideoInput.model_construct(**value)
    if isinstance(value, ImageToVideoInput):
        return value
    raise ValueError("no inputs of an accepted job")


@dataclass(frozen=True)
class JobOptions:
    """`picture_detail`: small frames take fine detail from the picture. `low_priority`: waits for all others. `cut`:
    what the clip shows of the frames. `keep_s`: seconds from its end until job and files are forgotten. `private`:
    texts and pictures are forgotten once the caller has the answer.
    """

    engine: str
    where: Where = "local"
    prompt_in_file: bool = True
    picture_detail: bool = True
    low_priority: bool = False
    cut: Cut = WHOLE
    keep_s: float | None = None
    private: bool = False


@dataclass(frozen=True)
class Group:
    """Jobs accepted together; `position` counts from 0. `sweep`: its definition, as text."""

    id: str
    position: int
    size: int
    sweep: str = ""


@dataclass(frozen=True)
class Job:
    """`id` is also request id and file name; whoever knows it has access.

    `inputs.seed` is set; a picture field is empty if the picture came as bytes. `files`: picture field → file id.
    `frames_of`: the job whose frames are reused. `notes`: what will not be done as asked.
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
    notes: tuple[str, ...] = ()

    @property
    def picture(self) -> str:
        return self.files["image_url"]

    @property
    def end_picture(self) -> str | None:
        return self.files.get("end_image_url")


@dataclass(frozen=True)
class Queued:
    """`position` jobs are ahead. `trouble`: why none of them can begin now, a sentence."""

    position: int
    trouble: str = ""
    event: Literal["Queued"] = field(default="Queued", kw_only=True, repr=False)


@dataclass(frozen=True)
class Stage:
    """`detail`: a sentence, or empty."""

    name: StageName
    detail: str = ""
    event: Literal["Stage"] = field(default="Stage", kw_only=True, repr=False)


@dataclass(frozen=True)
class Step:
    """`seconds_left`: of the whole job."""

    stage: StageName
    done: int
    total: int
    seconds_left: float | None = None
    event: Literal["Step"] = field(default="Step", kw_only=True, repr=False)


@dataclass(frozen=True)
class Preview:
    event: Literal["Preview"] = field(default="Preview", kw_only=True, repr=False)


@dataclass(frozen=True)
class Log:
    message: str
    level: LogLevel = "INFO"
    event: Literal["Log"] = field(default="Log", kw_only=True, repr=False)


@dataclass(frozen=True)
class Note:
    """What was not done as asked, and why."""

    message: str
    event: Literal["Note"] = field(default="Note", kw_only=True, repr=False)


@dataclass(frozen=True)
class Heartbeat:
    event: Literal["Heartbeat"] = field(default="Heartbeat", kw_only=True, repr=False)


@dataclass(frozen=True)
class FramesMade:
    interpolated: bool = False
    event: Literal["FramesMade"] = field(default="FramesMade", kw_only=True, repr=False)


@dataclass(frozen=True)
class Result:
    """`notes`: what was not done as asked. `fal_url`: fal's copy. `numbers`: see `explore.numbers`."""

    prompt: str
    seed: int
    size: Size
    frames: int
    fps: int
    engine: str
    stage_seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fal_url: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    result: Result
    event: Literal["Finished"] = field(default="Finished", kw_only=True, repr=False)


@dataclass(frozen=True)
class Failed:
    """`message` is for the visitor."""

    event: Literal["Failed"] = field(default="Failed", kw_only=True, repr=False)
    type: str
    message: str
    field: str | None = None


@dataclass(frozen=True)
class Stopped:
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
    return EVENT.dump_json(event).decode()


def from_json(line: str) -> Event:
    """Raises ValueError."""
    return EVENT.validate_json(line)
