"""What the browser stores of a visit for the page's events: the followed jobs and the clip on show.

`visit.js` merges what the server says into the store, so that tabs do not overwrite each other, and a reload, another
tab or a restarted app finds the jobs. Only ids; they come back untrusted. The list of all clips and grids is the
browser's own (`history_store.js`).
"""

import uuid
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService

STORAGE_SECRET = "ids of jobs"  # of the stores that Gradio keeps: a random one would not survive a restart
FOLLOWED = 20
FRESH = "(visit, ...rest) => [wanVisit.read(), ...rest]"
"""For events whose first input is the visit: what the store holds now, not what this tab read a while ago."""
OPENING = "visit => [wanVisit.opening(visit)]"


@dataclass(frozen=True)
class Visit:
    """`jobs` are followed, oldest first; `clip` is on show; `over`: no longer followed."""

    jobs: tuple[str, ...] = ()
    clip: str | None = None
    over: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: object) -> "Visit":
        """The visit that the browser sent back; anything that is no id is dropped."""
        plain = stored if isinstance(stored, dict) else {}
        jobs, over = (_ids(plain.get(name)) for name in ("jobs", "over"))
        return cls(jobs[-FOLLOWED:], _id(plain.get("clip")), over[-FOLLOWED:])

    @property
    def job(self) -> str | None:
        """The newest of the followed jobs."""
        return self.jobs[-1] if self.jobs else None

    def record(self, jobs: JobService) -> JobRecord | None:
        """The job of the clip on show, if it is still known."""
        return jobs.get(self.clip) if self.clip else None

    @property
    def plain(self) -> dict[str, Any]:
        return {"jobs": list(self.jobs), "clip": self.clip, "over": list(self.over)}

    def with_job(self, job_id: str) -> "Visit":
        return replace(self, jobs=(*(known for known in self.jobs if known != job_id), job_id))

    def without(self, job_id: str) -> "Visit":
        """No longer follow the job."""
        return replace(self, jobs=tuple(known for known in self.jobs if known != job_id), over=(*self.over, job_id))

    def with_shown_clip(self, clip_id: str) -> "Visit":
        return replace(self, clip=clip_id)


def visit_state() -> gr.JSON:
    return gr.JSON(Visit().plain, label="Visit", elem_id="visit", visible="hidden")


def _ids(values: object) -> tuple[str, ...]:
    return tuple(filter(None, map(_id, values if isinstance(values, list) else [])))


def _id(value: object) -> str | None:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None
