"""What the browser stores of a visit: the followed job, the clip on show, the last eight clips.

The storage key is fixed, so a reload, another tab or a restarted app finds the job. Only ids; they come back untrusted.
"""

import uuid
from dataclasses import dataclass
from typing import Any

import gradio as gr

from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService

STORAGE_KEY = "wan-2.2-visit"
STORAGE_SECRET = "ids of jobs"  # fixed: a random one would not survive a restart
KEPT = 8


@dataclass(frozen=True)
class Visit:
    """`job` is followed, `clip` on show, `clips` finished, oldest first."""

    job: str | None = None
    clip: str | None = None
    clips: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: object) -> "Visit":
        """The visit that the browser sent back; anything that is no id is dropped."""
        plain = stored if isinstance(stored, dict) else {}
        clips = plain.get("clips")
        ids = tuple(filter(None, map(_id, clips if isinstance(clips, list) else [])))
        return cls(_id(plain.get("job")), _id(plain.get("clip")), ids[-KEPT:])

    @property
    def plain(self) -> dict[str, Any]:
        return {"job": self.job, "clip": self.clip, "clips": list(self.clips)}

    def with_job(self, job_id: str) -> "Visit":
        return Visit(job_id, self.clip, self.clips)

    def with_shown_clip(self, clip_id: str) -> "Visit":
        return Visit(self.job, clip_id, self.clips)

    def with_clip(self, clip_id: str) -> "Visit":
        """Show a finished clip and add it to the strip, at most eight."""
        others = tuple(known for known in self.clips if known != clip_id)
        clips = self.clips if clip_id in self.clips else (*others, clip_id)[-KEPT:]
        return Visit(self.job, clip_id, clips)


def browser_state() -> gr.BrowserState:
    return gr.BrowserState(Visit().plain, storage_key=STORAGE_KEY, secret=STORAGE_SECRET)


def finished_records(jobs: JobService, visit: Visit) -> list[JobRecord]:
    """The jobs of the clips that are still kept, oldest first."""
    records = [jobs.get(clip_id) for clip_id in visit.clips]
    return [record for record in records if record is not None and jobs.result(record) is not None]


def _id(value: object) -> str | None:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None
