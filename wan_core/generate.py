"""The recipe of one clip, the same for every engine of this machine: agree on the prompt → make frames → encode.

`make_frames` is the one seam: the worker calls it directly, ZeroGPU wraps exactly it. Checks, expansion,
interpolation on the CPU and encoding stay outside. Knows no queue, no process border and no page.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image

from wan_core import encoding, frames, interpolation, recipe
from wan_core.events import Event, Finished, FramesMade, Job, Log, Note, Result, Stage, Step
from wan_core.expansion.expander import Expander
from wan_core.interpolation import InterpolationPlan
from wan_core.run_in_thread import Emit, run_in_thread
from wan_core.safety.checks import Checks
from wan_core.settings import DataFolder
from wan_core.timing import frames_between, timing

T = TypeVar("T")
Telling = Generator[Event, None, T]
"""Events on the way to a value."""


class MakeFrames(Protocol):
    """A job, the prompt to use and what goes between the frames → events that end with `FramesMade`."""

    def __call__(self, job: Job, prompt: str, between: InterpolationPlan) -> Iterator[Event]: ...


@dataclass(frozen=True)
class ClipMaker:
    """What every clip of this process is made with. `forced`: the host wants every picture and prompt checked."""

    make_frames: MakeFrames
    checks: Checks
    expander: Expander
    data: DataFolder
    forced: bool

    def run(self, job: Job, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Make the clip of `job`; the last event is `Finished`. A job that finishes kept frames again skips the model.

        Raises:
            InputError: picture, prompt or clip are refused.
            BackendError: the machine could not.
            Cancelled: `cancelled()` became true.
        """
        checking = (self.forced or job.request.enable_safety_checker) and job.frames_of is None
        prompt = yield from self._agreed_prompt(job, checking, cancelled)
        between = yield from self._between(job, cancelled)
        made = yield from self._frames(job, prompt, between, cancelled)
        if checking:
            yield Stage("checking", "Checking the finished frames.")
            yield from _noted(lambda: self.checks.frames(np.load(made.raw, mmap_mode="r")), cancelled)
        yield Stage("encoding")
        result = yield from _beating(lambda: _encode(job, prompt, made, self.data, cancelled), cancelled)
        self.data.interpolated(job.id).unlink(missing_ok=True)
        yield Finished(result)

    def _agreed_prompt(self, job: Job, checking: bool, cancelled: Callable[[], bool]) -> Telling[str]:
        """The prompt to use: checked, expanded if asked for, and checked again if it is new."""
        prompt = job.request.prompt
        if checking:
            yield Stage("checking")
            yield from _noted(lambda: self.checks.picture(_picture(job)), cancelled)
            yield from _noted(lambda: self.checks.prompt(prompt), cancelled)
        if job.request.enable_prompt_expansion and job.frames_of is None:
            yield Stage("expanding")
            expansion = yield from _beating(lambda: self.expander.expand(_picture(job), prompt), cancelled)
            if expansion.note:
                yield Note(expansion.note)
            if checking and expansion.prompt != prompt:
                yield from _noted(lambda: self.checks.prompt(expansion.prompt), cancelled)
            prompt = expansion.prompt
        return prompt

    def _between(self, job: Job, cancelled: Callable[[], bool]) -> Telling[InterpolationPlan]:
        model, count = job.request.interpolator_model, frames_between(job.request)
        folder = self.data.root / "interpolation"
        if count:
            yield Stage("loading", "Looking for the interpolator's weights.")
        between = yield from _beating(lambda: interpolation.plan_interpolation(model, count, folder), cancelled)
        if between.note:
            yield Note(between.note)
        return between

    def _frames(
        self, job: Job, prompt: str, between: InterpolationPlan, cancelled: Callable[[], bool]
    ) -> Telling[FramesMade]:
        made: FramesMade | None = None
        for event in self.make_frames(job, prompt, between):
            if isinstance(event, FramesMade):
                made = event
            else:
                yield event
        assert made is not None, "make_frames ends with FramesMade"
        if between.is_cpu_work:
            made = yield from insert(job, made.raw, between, self.data, cancelled)
        return made


def insert(
    job: Job, raw: Path, between: InterpolationPlan, data: DataFolder, cancelled: Callable[[], bool]
) -> Telling[FramesMade]:
    """Put the new frames between those of `raw` into a file of their own, telling each pair."""
    clip, target = timing(job.request), data.interpolated(job.id)
    pairs = clip.generated - 1

    def work(emit: Emit) -> None:
        finished = interpolation.iter_interpolated(
            frames.read(raw),
            frames_between(job.request),
            between,
            on_pair=lambda done: emit(Step("interpolating", done, pairs)),
        )
        frames.write(target, (frame[None] for frame in finished), clip.delivered)

    yield Stage("interpolating")
    yield Log(f"{clip.delivered - clip.generated} frames between {clip.generated}, by {between.used}.")
    yield from run_in_thread(work, cancelled)
    return FramesMade(raw, target)


def _encode(job: Job, prompt: str, made: FramesMade, data: DataFolder, cancelled: Callable[[], bool]) -> Result:
    request, clip = job.request, timing(job.request)
    encoded = encoding.encode(
        frames.read(made.interpolated or made.raw),
        data.clip(job.id),
        size=job.size,
        fps=clip.fps,
        quality=request.video_quality,
        write_mode=request.video_write_mode,
        comment=recipe.to_comment(recipe.from_job(job), job.id),
        cancelled=cancelled,
    )
    assert request.seed is not None, "a job always has its seed"
    return Result(encoded.path, prompt, request.seed, encoded.size, encoded.frames, clip.fps, job.engine)


def _picture(job: Job) -> Image.Image:
    with Image.open(job.picture) as picture:
        return picture.convert("RGB")


def _noted(check: Callable[[], str | None], cancelled: Callable[[], bool]) -> Telling[None]:
    """Make a check; the sentence that says it could not be made becomes a note of the result."""
    sentence = yield from _beating(check, cancelled)
    if sentence:
        yield Note(sentence)


def _beating(work: Callable[[], T], cancelled: Callable[[], bool]) -> Telling[T]:
    """What `work` returns; while it is silent, the job is seen to be alive."""
    returned: list[T] = []
    yield from run_in_thread(lambda emit: returned.append(work()), cancelled)
    return returned[0]
