"""A frame of a clip as an uploaded picture."""

from pathlib import Path

import numpy as np
from PIL import Image

from wan_core import cutting
from wan_core.errors import BackendError
from wan_core.events import Result
from wan_core.explore.exports import frames_of_clip
from wan_core.files import atomic_write
from wan_core.frames import Frame
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService
from wan_core.ui.errors import CLIP_GONE
from wan_core.ui.pictures import uploads_folder


def still(jobs: JobService, record: JobRecord, number: int) -> Path:
    """Frame `number` of the clip, from 0, within the clip: as it was kept, or decoded where it was not.

    Raises:
        BackendError: the clip is not kept.
    """
    result = jobs.result(record)
    if result is None:
        raise BackendError("frames_not_kept", CLIP_GONE)
    wanted = min(max(0, number), result.frames - 1)
    frame = _kept(jobs, record, result, wanted)
    frame = _decoded(jobs, record, result, wanted) if frame is None else frame
    folder = uploads_folder() / "lent"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.job.id}-{wanted}.png"
    with atomic_write(path) as part, part.open("wb") as file:
        Image.fromarray(frame).save(file, "PNG", compress_level=1)
    return path


def _kept(jobs: JobService, record: JobRecord, result: Result, wanted: int) -> Frame | None:
    """`None` for frames between the kept ones, and where those are smaller than the clip."""
    place, is_kept = cutting.kept_frame(record.job.inputs, record.job.options.cut, wanted)
    if not is_kept or not jobs.has_frames(record):
        return None
    frames = np.load(jobs.files.frames(record.job.frames_of or record.job.id), mmap_mode="r")
    is_full_size = frames.shape[1:3] == (result.size.height, result.size.width)
    return np.array(frames[place - 1]) if is_full_size and place <= len(frames) else None


def _decoded(jobs: JobService, record: JobRecord, result: Result, wanted: int) -> Frame:
    frames = frames_of_clip(jobs.files.clip(record.job.id), result.size)
    frame = next((frame for at, frame in enumerate(frames) if at == wanted), None)
    if frame is None:
        raise BackendError("frames_not_kept", CLIP_GONE)
    return frame
