"""Commands and answers of a worker, one line of JSON each. Reading raises ValueError."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from wan_core.events import Event, Job


@dataclass(frozen=True)
class Run:
    job: Job
    message: Literal["run"] = field(default="run", kw_only=True)


@dataclass(frozen=True)
class Cancel:
    job_id: str
    message: Literal["cancel"] = field(default="cancel", kw_only=True)


@dataclass(frozen=True)
class Check:
    """`id`: the question's; `picture`: a file id."""

    id: str
    picture: str
    prompt: str
    message: Literal["check"] = field(default="check", kw_only=True)


@dataclass(frozen=True)
class Expand:
    """`id`: the question's; `picture`: a file id."""

    id: str
    picture: str
    prompt: str
    message: Literal["expand"] = field(default="expand", kw_only=True)


@dataclass(frozen=True)
class Watch:
    """Ask for the state of the cluster, now and again; `id` is the question's."""

    id: str
    message: Literal["watch"] = field(default="watch", kw_only=True)


@dataclass(frozen=True)
class Happened:
    """`id`: the job's."""

    id: str
    event: Event
    message: Literal["happened"] = field(default="happened", kw_only=True)


@dataclass(frozen=True)
class Raised:
    """`id`: the job's or question's; `error`: from `errors.to_plain`."""

    id: str
    error: dict[str, Any]
    message: Literal["raised"] = field(default="raised", kw_only=True)


@dataclass(frozen=True)
class Passed:
    id: str
    message: Literal["passed"] = field(default="passed", kw_only=True)


@dataclass(frozen=True)
class Expanded:
    """`note`: why the prompt is unchanged."""

    id: str
    prompt: str
    note: str
    message: Literal["expanded"] = field(default="expanded", kw_only=True)


@dataclass(frozen=True)
class NeedsFreshProcess:
    """Another engine is loaded."""

    id: str
    message: Literal["needs_fresh_process"] = field(default="needs_fresh_process", kw_only=True)


@dataclass(frozen=True)
class ClusterState:
    """`workers` can take a job or have one; `card` and `vram_bytes` are those of the smallest, empty and 0 without."""

    id: str
    workers: int
    card: str = ""
    vram_bytes: int = 0
    message: Literal["cluster_state"] = field(default="cluster_state", kw_only=True)


Command = Annotated[Run | Cancel | Check | Expand | Watch, Field(discriminator="message")]
Answer = Annotated[
    Happened | Raised | Passed | Expanded | NeedsFreshProcess | ClusterState, Field(discriminator="message")
]
COMMAND: TypeAdapter[Command] = TypeAdapter(Command)
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)


def command_line(command: Command) -> str:
    return COMMAND.dump_json(command).decode() + "\n"


def answer_line(answer: Answer) -> str:
    return ANSWER.dump_json(answer).decode() + "\n"


def read_command(line: str) -> Command:
    return COMMAND.validate_json(line)


def read_answer(line: str) -> Answer:
    return ANSWER.validate_json(line)
