"""What the browser stores of a visit for the page's events: the followed job and the clip on show.

The storage key is fixed, so a reload, another tab or a restarted app finds the job. Only ids; they come back untrusted.
The list of all clips and grids is the browser's own (`history_store.js`).
"""

import uuid
from dataclasses import dataclass
from typing import Any

import gradio as gr

STORAGE_KEY = "wan-2.2-visit"
STORAGE_SECRET = "ids of jobs"  # fixed: a random one would not survive a restart


@dataclass(frozen=True)
class Visit:
    """`job` is followed, `clip` on show."""

    job: str | None = None
    clip: str | None = None

    @classmethod
    def of(cls, stored: object) -> "Visit":
        """The visit that the browser sent back; anything that is no id is dropped."""
        plain = stored if isinstance(stored, dict) else {}
        return cls(_id(plain.get("job")), _id(plain.get("clip")))

    @property
    def plain(self) -> dict[str, Any]:
        return {"job": self.job, "clip": self.clip}

    def with_job(self, job_id: str) -> "Visit":
        return Visit(job_id, self.clip)

    def with_shown_clip(self, clip_id: str) -> "Visit":
        return Visit(self.job, clip_id)


def browser_state() -> gr.BrowserState:
    return gr.BrowserState(Visit().plain, storage_key=STORAGE_KEY, secret=STORAGE_SECRET)


def _id(value: object) -> str | None:
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None
