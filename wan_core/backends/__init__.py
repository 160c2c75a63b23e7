"""What can carry out a job: worker processes here, ZeroGPU, or fal. This file holds only what they have in common.

A backend yields the events of a job and ends with `Finished`, or raises: `InputError` (the visitor can mend it),
`BackendError` (the machine could not), `Cancelled`. It keeps no list of jobs and knows no queue.
"""

from collections.abc import Iterator
from typing import Protocol

from wan_core.events import Event, Job


class Backend(Protocol):
    """`run` is driven by one thread; `cancel` may be called from any other. Pictures are named by their file ids."""

    def start(self) -> None:
        """Get ready before the first job comes, without waiting for it."""
        ...

    def run(self, job: Job) -> Iterator[Event]:
        """The events of `job` until it is finished."""
        ...

    def cancel(self, job_id: str) -> None:
        """Ask `job_id` to stop: its `run` raises `Cancelled` within a step. Unknown ids are ignored."""
        ...

    def check(self, picture: str, prompt: str) -> None:
        """Check picture and prompt for safety before a job leaves for fal.

        Raises:
            InputError: one of them is refused.
            BackendError: it cannot be checked, and the host makes no clip without.
        """
        ...

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        """The prompt rewritten for motion, and a note (empty if it worked; else why the prompt is unchanged)."""
        ...

    def close(self) -> None:
        """Stop everything and give back what is held."""
        ...
