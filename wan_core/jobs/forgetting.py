"""Forget what a caller did not want to be kept: the texts and pictures of a request, once it is answered.

The clip stays for as long as any, because its address is the answer; it holds no prompt.
"""

import logging
from contextlib import suppress
from pathlib import Path

from wan_core.errors import BackendError
from wan_core.files import FileStore
from wan_core.jobs.record import JobRecord
from wan_core.jobs.records import Records
from wan_core.jobs.store import JobStore

log = logging.getLogger(__name__)


def forget_request(record: JobRecord, store: JobStore, files: FileStore, records: Records) -> None:
    """Call when the caller of a job that is over has the answer.

    A job whose end could not be stored stays as it is: after a restart it runs again, and needs its pictures.
    """
    job_id = record.job.id
    try:
        row = store.row(job_id)
        if row is None or row.outcome is None:
            return
        for path in _files_of_request(record, store, files, records):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        store.forget_texts(job_id)
    except BackendError:
        log.error("the texts of job %s could not be removed; they stay until it is forgotten", job_id)
    else:
        records.forget(job_id)


def _files_of_request(record: JobRecord, store: JobStore, files: FileStore, records: Records) -> list[Path]:
    """All but the clip, and what other jobs need."""
    job = record.job
    source = job.frames_of or job.id
    needed = {files.clip(job.id)}
    if any(other.job.frames_of == source for other in records.unfinished()):
        needed.add(files.frames(source))
    found = [files.frames(source), *files.of_job(job.id), *map(files.picture, store.own_pictures(job.id))]
    return [path for path in found if path not in needed]
