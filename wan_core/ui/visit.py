"""What this browser remembers of a visit: the job it follows, the clip it looks at, and its last eight clips.

It lies in the browser's storage under a fixed key, so a reload, another tab or a restart of the app finds the job
again. Only ids are kept; they come back from strangers and are looked up, never trusted.
"""

import uuid
from dataclasses import dataclass
from typing import Any

import gradio as gr

from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService

STORAGE_KEY = "wan-2.2-visit"
STORAGE_SECRET = "ids of jobs"  # scrambles the entry; nothing in it needs hiding from the browser's owner
KEPT = 8


@dataclass(frozen=True)
class Visit:
    """`job` is followed, `clip` is on show, `clips` are the finished ones, oldest first."""

    job: str | None = None
    clip: str | None = None
    clips: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: object) -> "Visit":
        """The visit in what the browser sent back; anything that is no id is dropped."""
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
        """A clip is finished: it is shown and joins the strip, the ninth oldest leaves."""
        others = tuple(known for known in self.clips if known != clip_id)
        clips = self.clips if clip_id in self.clips else (*others, clip_id)[-KEPT:]
        return Visit(self.job, clip_id, clips)


def browser_state() -> gr.BrowserState:
    return gr.BrowserState(Visit().plain, storage_key=STORAGE_KEY, secret=STORAGE_SECRET)


def finished_records(jobs: JobService, visit: Visit) -> list[JobRecord]:
    """The jobs of the visit's clips that are still kept, oldest first."""
    records = [jobs.get(clip_id) for clip_id in visit.clips]
    return [record for record in records if record is not None and jobs.result(record) is not None]


def _id(value: object) -> str | None:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None
