"""What an ended job leaves behind and nobody can use.

Stays: frames whose encoding failed, to finish again, and pictures of a group, to make its jobs again.
"""

from contextlib import suppress
from pathlib import Path

from wan_core.events import Failed, Finished, Job, Outcome
from wan_core.files import FileStore
from wan_core.jobs.store import JobStore

ENCODING_FAULTS = ("storage_full", "internal_server_error")  # not a refusal: its frames must not be seen


def may_have_frames(outcome: Outcome | None) -> bool:
    """Whether a job that ended so can be finished again."""
    return isinstance(outcome, Finished) or (isinstance(outcome, Failed) and outcome.type in ENCODING_FAULTS)


def keeps_frames(outcome: Outcome, last_stage: str | None) -> bool:
    """Frames are checked before they are encoded: those of an earlier fault are not kept."""
    return may_have_frames(outcome) and (isinstance(outcome, Finished) or last_stage == "encoding")


class Leftovers:
    def __init__(self, store: JobStore, files: FileStore) -> None:
        self._store, self._files = store, files

    def remove(self, job: Job, outcome: Outcome, last_stage: str | None) -> None:
        """Call once nothing writes for the job and the store knows its end."""
        files, job_id = self._files, job.id
        useless = [files.preview(job_id), files.interpolated_frames(job_id), files.full_size_frames(job_id)]
        if not isinstance(outcome, Finished):
            useless += [files.clip(job_id), *files.parts_of(job_id)]
        if not keeps_frames(outcome, last_stage) or not files.frames(job_id).exists():
            useless += [files.frames(job_id), *self._pictures(job, outcome)]
        for path in useless:
            with suppress(OSError):  # housekeeping tries again
                path.unlink(missing_ok=True)

    def _pictures(self, job: Job, outcome: Outcome) -> list[Path]:
        """Of a job without a clip, unless another job needs them."""
        if isinstance(outcome, Finished) or job.group is not None:
            return []
        return [self._files.picture(picture) for picture in self._store.unused_pictures(job.id)]
