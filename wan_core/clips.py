"""Make one clip: prompt → frames → check → encode. Knows no queue, processes or page.

Only `make_frames` needs a GPU.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image

from wan_core import cutting, encoding, frames, geometry, interpolation, recipe
from wan_core.engine import loading, sampling
from wan_core.engine.loading import Engine
from wan_core.enlarging import enlarge_with_picture
from wan_core.errors import FRAMES_GONE, BackendError, InputError
from wan_core.events import Event, Finished, FramesMade, Job, Log, Note, Result, Stage, Step
from wan_core.expansion.expander import Expander, Expansion, expander
from wan_core.explore import numbers
from wan_core.files import FileStore
from wan_core.frames import Frame
from wan_core.geometry import Size
from wan_core.interpolation import InterpolationPlan
from wan_core.profiles import detect, profiles
from wan_core.run_in_thread import Emit, run_in_thread
from wan_core.safety.checks import Checks, checks
from wan_core.settings import Settings
from wan_core.timing import frames_between, timing

T = TypeVar("T")
EventsThen = Generator[Event, None, T]
IsCancelled = Callable[[], bool]


class MakeFrames(Protocol):
    """Events end with `FramesMade`."""

    def __call__(self, job: Job, prompt: str, plan: InterpolationPlan, cancelled: IsCancelled) -> Iterator[Event]: ...


class ClipWorker:
    """One clip at a time. Without `engine`, loads each job's own and keeps the last."""

    def __init__(self, host: Settings, engine: Engine | None = None, make_frames: MakeFrames | None = None) -> None:
        self._host = host
        self._engine = engine
        self._may_load, self._is_lost = engine is None, False
        self._checks = checks(host)
        self._expander = expander(host)
        self._make_frames = make_frames or self.make_frames
        self._has_card = detect(host).device == "cuda"

    def run(self, job: Job, cancelled: IsCancelled, make_frames: MakeFrames | None = None) -> Iterator[Event]:
        """`make_frames`: for this job, in the place of the usual way."""
        host = self._host
        any_runs = host.film_on_cpu or self._has_card
        make = make_frames or self._make_frames
        maker = ClipMaker(make, self._checks, self._expander, host.files, host.force_safety, any_runs)
        yield from maker.run(job, cancelled)

    def needs_fresh_process(self, job: Job) -> bool:
        """Another engine's memory is only surely free once its process has ended."""
        if not self._may_load or job.frames_of is not None:
            return False
        if self._engine is None:
            return self._is_lost
        profile = profiles().get(job.options.engine)
        return self._engine.is_lost or (profile is not None and self._engine.for_profile(profile) is None)

    def check(self, picture: str, prompt: str) -> None:
        """Raises InputError if picture or prompt is refused."""
        self._checks.picture(read_picture(self._host.files, picture))
        self._checks.prompt(prompt)

    def expand(self, picture: str, prompt: str) -> Expansion:
        return self._expander.expand(read_picture(self._host.files, picture), prompt)

    def make_frames(self, job: Job, prompt: str, plan: InterpolationPlan, cancelled: IsCancelled) -> Iterator[Event]:
        """Sample, unless kept frames are reused; interpolate by a network."""
        if job.frames_of is None:
            yield from run_in_thread(lambda emit: self._load(job.options.engine, emit), cancelled)
            assert self._engine is not None
            yield from sampling.sample(self._engine, job, prompt, self._host.files, cancelled)
        if plan.is_network:
            yield (yield from insert_frames(job, plan, self._host.files, cancelled))
        else:
            yield FramesMade()

    def _load(self, name: str, emit: Emit) -> None:
        profile = profiles()[name]
        present = self._engine.for_profile(profile) if self._engine else None
        if present is None and not self._may_load:
            raise BackendError("engine_unavailable", f"{profile.title} is not loaded here.")
        self._engine = None if present is None else present
        if self._engine is None:
            try:
                self._engine = loading.load(profile, self._host, emit)
            except BackendError as error:
                self._is_lost = error.type == "worker_lost"
                raise


@dataclass(frozen=True)
class ClipMaker:
    """`forced`: check every picture and prompt."""

    make_frames: MakeFrames
    checks: Checks
    expander: Expander
    files: FileStore
    forced: bool
    any_interpolator_runs: bool = True

    def run(self, job: Job, cancelled: IsCancelled) -> Iterator[Event]:
        """The last event is `Finished`.

        Raises:
            InputError: picture, prompt or clip is refused.
            BackendError: the machine failed.
            Cancelled: `cancelled()` became true.
        """
        is_new = job.frames_of is None
        if not is_new and not raw_frames(job, self.files).is_file():
            raise BackendError("frames_not_kept", FRAMES_GONE)
        checking = is_new and (self.forced or job.inputs.enable_safety_checker)
        prompt = yield from self._agree_on_prompt(job, checking, cancelled)
        plan = yield from self._plan_interpolation(job, cancelled)
        made = yield from self._make(job, prompt, plan, cancelled)
        if is_new and (self.forced or job.inputs.enable_output_safety_checker):
            yield Stage("checking", "Checking the finished frames.")
            raw = self.files.frames(job.id)
            yield from _note_if_unchecked(lambda: self.checks.frames(np.load(raw, mmap_mode="r")), cancelled)
        yield Stage("encoding")
        result = yield from _wait_for(lambda: encode(job, prompt, made, self.files, cancelled), cancelled)
        for scratch in (self.files.interpolated_frames(job.id), self.files.full_size_frames(job.id)):
            scratch.unlink(missing_ok=True)
        yield Finished(result)

    def _agree_on_prompt(self, job: Job, checking: bool, cancelled: IsCancelled) -> EventsThen[str]:
        prompt = job.inputs.prompt
        if checking:
            yield Stage("checking")
            for field in job.files:
                yield from _note_if_unchecked(partial(self._check_picture, job, field), cancelled)
            yield from _note_if_unchecked(lambda: self.checks.prompt(prompt), cancelled)
        if job.inputs.enable_prompt_expansion and job.frames_of is None:
            yield Stage("expanding")
            first = read_picture(self.files, job.picture)
            expansion = yield from _wait_for(lambda: self.expander.expand(first, prompt), cancelled)
            if expansion.note:
                yield Note(expansion.note)
            if checking and expansion.prompt != prompt:
                yield from _note_if_unchecked(lambda: self.checks.prompt(expansion.prompt), cancelled)
            prompt = expansion.prompt
        return prompt

    def _check_picture(self, job: Job, field: str) -> str | None:
        try:
            return self.checks.picture(read_picture(self.files, job.files[field]))
        except InputError as error:
            raise (error.at(field) if error.field == "image_url" else error) from error

    def _plan_interpolation(self, job: Job, cancelled: IsCancelled) -> EventsThen[InterpolationPlan]:
        model, count = job.inputs.interpolator_model, frames_between(job.inputs)
        folder = self.files.root / "interpolation"
        if count:
            yield Stage("loading", "Looking for the interpolator's weights.")
        choose = partial(interpolation.plan_interpolation, any_runs=self.any_interpolator_runs)
        plan = yield from _wait_for(lambda: choose(model, count, folder), cancelled)
        if plan.note:
            yield Note(plan.note)
        return plan

    def _make(self, job: Job, prompt: str, plan: InterpolationPlan, cancelled: IsCancelled) -> EventsThen[FramesMade]:
        made: FramesMade | None = None
        for event in self.make_frames(job, prompt, plan, cancelled):
            if isinstance(event, FramesMade):
                made = event
            else:
                yield event
        assert made is not None, "make_frames ends with FramesMade"
        if plan.is_cpu_work:
            made = yield from insert_frames(job, plan, self.files, cancelled)
        return made


def needs_card(job: Job, plan: InterpolationPlan) -> bool:
    return job.frames_of is None or plan.is_network


def insert_frames(
    job: Job, plan: InterpolationPlan, files: FileStore, cancelled: IsCancelled
) -> EventsThen[FramesMade]:
    """Write raw and new frames to one file; those that a trim leaves out are left out here."""
    cut = job.options.cut
    clip = timing(cutting.trimmed(job.inputs, cut))
    raw = islice(frames.read(raw_frames(job, files)), cut.first_frame - 1, cut.last_frame)

    def work(emit: Emit) -> None:
        def on_pair(done: int) -> None:
            emit(Step("interpolating", done, clip.generated - 1))

        count = frames_between(job.inputs)
        finished = interpolation.iter_interpolated(raw, count, plan, on_pair=on_pair)
        frames.write(files.interpolated_frames(job.id), (frame[None] for frame in finished), clip.delivered)

    yield Stage("interpolating")
    yield Log(f"{clip.delivered - clip.generated} frames between {clip.generated}, by {plan.used}.")
    yield from run_in_thread(work, cancelled)
    return FramesMade(interpolated=True)


def raw_frames(job: Job, files: FileStore) -> Path:
    return files.frames(job.frames_of or job.id)


def encode(job: Job, prompt: str, made: FramesMade, files: FileStore, cancelled: IsCancelled) -> Result:
    inputs, clip = job.inputs, timing(job.inputs)
    encoded = encoding.encode(
        iter_shown(job, made, files),
        files.clip(job.id),
        size=job.size,
        fps=clip.fps,
        quality=inputs.video_quality,
        write_mode=inputs.video_write_mode,
        comment=recipe.to_comment(recipe.from_job(job), job.id),
        cancelled=cancelled,
    )
    assert inputs.seed is not None, "a job always has its seed"
    measured = numbers.measure(
        raw_frames(job, files), fitted_picture(files.picture(job.picture), job.size), job.size, inputs
    )
    result = Result(prompt, inputs.seed, encoded.size, encoded.frames, clip.fps, job.options.engine)
    return replace(result, numbers=measured)


def iter_shown(job: Job, made: FramesMade, files: FileStore) -> Iterator[Frame]:
    """Trimmed, in their order, of the clip's size or smaller. Frames before a trim are drawn too: an engine with small
    ones follows the picture from the first.
    """
    cut, raw = job.options.cut, frames.read(raw_frames(job, files))
    before = cut.first_frame - 1
    drawn: Iterator[Frame] = islice(raw, cut.last_frame)
    if made.interpolated:
        drawn = chain(islice(raw, before), frames.read(files.interpolated_frames(job.id)))
    trimmed = islice(iter_full_size(job, drawn, files), before, None)
    if cut.ending == "stop":
        yield from trimmed
        return
    scratch = files.full_size_frames(job.id)
    frames.write(scratch, (frame[None] for frame in trimmed), cutting.delivered(job.inputs, cut))
    yield from cutting.arrange(np.load(scratch, mmap_mode="r"), cut.ending, frames_between(job.inputs))


def iter_full_size(job: Job, drawn: Iterator[Frame], files: FileStore) -> Iterator[Frame]:
    """Without `picture_detail` the encoder enlarges small frames plainly."""
    if profiles()[job.options.engine].render_divisor == 1 or not job.options.picture_detail:
        return drawn
    return enlarge_with_picture(drawn, np.asarray(fitted_picture(files.picture(job.picture), job.size)))


@lru_cache(maxsize=1)
def fitted_picture(path: Path, size: Size) -> Image.Image:
    """The stored picture at the size of the clip: a large one takes a while to read."""
    with Image.open(path) as picture:
        return geometry.fit(picture.convert("RGB"), size)


def read_picture(files: FileStore, file_id: str) -> Image.Image:
    with Image.open(files.picture(file_id)) as picture:
        return picture.convert("RGB")


def _note_if_unchecked(check: Callable[[], str | None], cancelled: IsCancelled) -> EventsThen[None]:
    sentence = yield from _wait_for(check, cancelled)
    if sentence:
        yield Note(sentence)


def _wait_for(work: Callable[[], T], cancelled: IsCancelled) -> EventsThen[T]:
    returned: list[T] = []
    yield from run_in_thread(lambda emit: returned.append(work()), cancelled)
    return returned[0]
