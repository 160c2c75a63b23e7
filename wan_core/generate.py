"""The recipe of one clip, the same for every engine of this machine: agree on the prompt → make frames → encode.

`make_frames` is the one seam: the worker calls it directly, ZeroGPU wraps exactly it. Checks, expansion, the fallback
of interpolation and encoding stay outside. Knows no queue, no process border and no page.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np

from wan_core import encoding, recipe
from wan_core.encoding import Frame
from wan_core.events import Event, Finished, FramesMade, Job, Result, Stage
from wan_core.settings import DataFolder
from wan_core.timing import timing

MakeFrames = Callable[[Job, str], Iterator[Event]]
"""A job and the prompt to use → events that end with `FramesMade`."""


def run(job: Job, make_frames: MakeFrames, data: DataFolder, cancelled: Callable[[], bool]) -> Iterator[Event]:
    """Make the clip of `job`; the last event is `Finished`.

    Raises:
        InputError: picture or prompt are refused.
        BackendError: the machine could not.
        Cancelled: `cancelled()` became true.
    """
    prompt = job.request.prompt
    made = FramesMade(data.frames(job.id))
    for event in make_frames(job, prompt):
        if isinstance(event, FramesMade):
            made = event
        else:
            yield event
    yield Stage("encoding")
    yield Finished(_encode(job, made, prompt, data.clip(job.id), cancelled))


def _encode(job: Job, made: FramesMade, prompt: str, target: Path, cancelled: Callable[[], bool]) -> Result:
    request, times = job.request, timing(job.request)
    clip = encoding.encode(
        frames_in(made.interpolated or made.raw),
        target,
        size=job.size,
        fps=times.fps,
        quality=request.video_quality,
        write_mode=request.video_write_mode,
        comment=recipe.to_comment(recipe.of(job), job.id),
        cancelled=cancelled,
    )
    assert request.seed is not None, "a job always has its seed"
    return Result(clip.path, prompt, request.seed, clip.size, clip.frames, times.fps, job.engine)


def frames_in(path: Path) -> Iterator[Frame]:
    """The frames of a .npy file, uint8 (T, H, W, 3), one by one; the file is mapped, not read whole."""
    yield from cast(Iterator[Frame], iter(np.load(path, mmap_mode="r")))
