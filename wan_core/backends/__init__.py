"""What can run a job: worker processes here, ZeroGPU or fal. Knows no queue."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from wan_core.events import Event, Job


class Backend(Protocol):
    """`run` is driven by one thread; `cancel` may come from any. Pictures are file ids.

    `run` ends with `Finished`, or raises `InputError` (the visitor can fix it), `BackendError` (the machine failed) or
    `Cancelled`.
    """

    def start(self) -> None:
        """Prepare for the first job without blocking."""
        ...

    def run(self, job: Job) -> Iterator[Event]: ...

    def cancel(self, job_id: str) -> None:
        """`run` raises `Cancelled` within a step. Unknown ids are ignored."""
        ...

    def check(self, picture: str, prompt: str) -> None:
        """Raises InputError if picture or prompt is refused, BackendError if a required check cannot be made."""
        ...

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        """The new prompt and a note: empty, or why it is unchanged."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class GroupBackend(Protocol):
    """A backend that may make several jobs of a group in one go."""

    def run_in_group(self, job: Job, coming: Callable[[], Sequence[str]]) -> Iterator[Event]:
        """As `Backend.run`. `coming()`: ids of the group's jobs that run or are about to, in their order."""
        ...
