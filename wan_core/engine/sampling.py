"""Sample one clip: a picture and a prompt → raw frames on disk, with events on the way.

The same request gives bit-identical frames on one machine. A cancelled clip stops within one step and leaves no file.
Lack of memory and invalid numbers are each retried once, with a note. Knows nothing of interpolation or encoding.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler
from PIL import Image

from wan_core import frames as frame_file
from wan_core import geometry, workload
from wan_core.engine import guidance, memory, offload, turbo
from wan_core.engine.acceleration import MAX_VARIANTS, compiled_variants
from wan_core.engine.decoding import NotFinite, iter_decoded
from wan_core.engine.embedding_cache import prompt_embeds
from wan_core.engine.eta import EtaEstimator
from wan_core.engine.framing import frame_picture
from wan_core.engine.lightning_end import LightningEnd
from wan_core.engine.loading import Engine
from wan_core.engine.main_memory import freed_memory_given_back
from wan_core.engine.preview import Previews
from wan_core.engine.prompt_length import note_on_cut
from wan_core.errors import BackendError, WanError
from wan_core.events import Event, Job, Log, Note, Preview, Stage, Step
from wan_core.files import FileStore
from wan_core.frames import Frames, thin_out
from wan_core.geometry import Size
from wan_core.run_in_thread import Emit, run_in_thread
from wan_core.schedule import StepSchedule, schedule
from wan_core.schema import ImageToVideoInput
from wan_core.timing import sampled_frames

log = logging.getLogger(__name__)

DECODE_S_PER_PIXEL = {"cpu": 9e-7, "cuda": 3e-8}
"""Until the first clip: the miniature's VAE on two cores (measured), Wan's on a large card (published)."""

TRAINED_FRAMES = 81
NO_LOW_NOISE = (
    "With {steps} steps and shift {shift:g} every step falls to the high-noise expert and the low-noise one never "
    "runs: the clip stays noisy. Take more steps or a smaller shift."
)
ONLY_FP8 = (
    "This card holds the experts in fp8 only, so the clip is not the one of the unaccelerated model. The host can set "
    "WAN_ACCELERATE_FP8=0 to keep them whole and slower."
)
NO_END_PICTURE = "The {engine} only knows camera moves: it ignores the end picture, so the clip does not end on it."
LONG_CLIP = (
    "Wan was trained on {trained} frames: in a clip of {frames}, colours may drift and the motion may turn back to the "
    "first picture."
)
NOT_FINITE = "The model produced invalid numbers for this request. Try another seed or a lower guidance scale."
INVALID_NUMBERS = "The {part} gave invalid numbers on this card, so the clip was made again without."
FAILED_MIDWAY = "The {part} failed midway on this card, so the clip was made again without."
SMALLER_PLAN = "The clip did not fit the card's memory at first and was made with a smaller plan: {plan}."


@dataclass(frozen=True)
class Clip:
    """`first_frame` and `last_frame` have the rendered `size`; `frames` (4k+1) are sampled, `num_frames` kept.

    `takes_detail`: from the picture, after sampling; previews show it.
    """

    request: ImageToVideoInput
    prompt: str
    first_frame: Image.Image
    last_frame: Image.Image | None
    size: Size
    target: Path
    preview: Path
    takes_detail: bool

    @property
    def frames(self) -> int:
        return sampled_frames(self.request.num_frames)


def sample(
    engine: Engine,
    job: Job,
    prompt: str,
    files: FileStore,
    cancelled: Callable[[], bool],
) -> Iterator[Event]:
    """Sample the clip of `job` and write its frames to `files`: uint8 (num_frames, H, W, 3) .npy.

    H and W are `geometry.rendered_size(job.size, profile.render_divisor)`; `prompt` may be expanded. The work runs in a
    thread; closing the generator or `cancelled()` stops it within one step.

    Raises:
        Cancelled: `cancelled()` was true.
        BackendError: `out_of_memory`, `storage_full`, or `no_media_generated` if the result is not finite.
    """
    size = geometry.rendered_size(job.size, engine.profile.render_divisor)

    def frame(file_id: str) -> Image.Image:
        with Image.open(files.picture(file_id)) as picture:
            return frame_picture(picture.convert("RGB"), job.size, size)

    ends_on_picture = job.end_picture is not None and engine.profile.takes_end_picture
    last_frame = frame(job.end_picture) if job.end_picture is not None and ends_on_picture else None
    takes_detail = engine.profile.render_divisor > 1 and job.options.picture_detail
    target, preview = files.frames(job.id), files.preview(job.id)
    clip = Clip(job.inputs, prompt, frame(job.picture), last_frame, size, target, preview, takes_detail)
    notes = [] if ends_on_picture or job.end_picture is None else [_no_end_picture(engine)]

    def make(emit: Emit) -> None:
        with freed_memory_given_back():
            _make(engine, clip, [*notes, *_notes(engine, clip)], emit)

    return run_in_thread(make, cancelled)


def check_lent_memory(engine: Engine, job: Job) -> None:
    """Refuse a clip before a card is lent for it that cannot hold it.

    Raises:
        BackendError: `out_of_memory`.
    """
    size = geometry.rendered_size(job.size, engine.profile.render_divisor)
    frames = sampled_frames(job.inputs.num_frames)
    if not offload.fits(engine, _need(engine, job.inputs, size, frames)):
        raise _out_of_memory(size, frames)


def _need(engine: Engine, request: ImageToVideoInput, size: Size, frames: int) -> memory.Clip:
    loras = engine.profile.lightning is not None or turbo.is_loaded(engine.pipe)
    split = engine.group.split.degree if engine.group else 1
    return memory.Clip(size, frames, engine.acceleration.uses_cache(request), loras, split)


def _make(engine: Engine, clip: Clip, notes: Sequence[str], emit: Emit) -> None:
    for note in notes:
        emit(Note(note))
    try:
        need = _need(engine, clip.request, clip.size, clip.frames)
        offload.arrange_for(engine, need, emit)
        if _make_if_memory_suffices(engine, clip, emit):
            return
        smaller = offload.shrink(engine, need, emit)
        if smaller is None:
            raise _out_of_memory(clip.size, clip.frames)
        emit(Note(SMALLER_PLAN.format(plan=smaller.words)))
        if not _make_if_memory_suffices(engine, clip, emit):
            raise _out_of_memory(clip.size, clip.frames)
    except NotFinite as error:
        raise BackendError("no_media_generated", NOT_FINITE) from error
    finally:
        engine.pipe.maybe_free_model_hooks()


def _no_end_picture(engine: Engine) -> str:
    return NO_END_PICTURE.format(engine=engine.profile.title.lower())


def _notes(engine: Engine, clip: Clip) -> Iterator[str]:
    lightning = engine.profile.lightning
    if lightning and (misfit := turbo.lora_misfit(clip.request, lightning)):
        yield misfit
    if engine.profile.is_full_model and clip.frames > TRAINED_FRAMES:
        yield LONG_CLIP.format(trained=TRAINED_FRAMES, frames=clip.request.num_frames)
    if engine.plan and engine.plan.weights == "fp8" and clip.request.acceleration == "none":
        yield ONLY_FP8


def _make_if_memory_suffices(engine: Engine, clip: Clip, emit: Emit) -> bool:
    """Return whether memory sufficed; the clip's memory is freed on return."""
    try:
        _denoise_and_decode(engine, clip, emit)
        return True
    except (MemoryError, RuntimeError) as error:
        if memory.says_out_of_memory(error):
            return False
        raise


def _out_of_memory(size: Size, frames: int) -> BackendError:
    sentence = f"The memory here is not enough for {frames} frames of {size}."
    return BackendError("out_of_memory", f"{sentence} Try fewer frames or a smaller resolution.")


def _denoise_and_decode(engine: Engine, clip: Clip, emit: Emit) -> None:
    """Make the clip; a fast part that fails is switched off, and the clip made again with a note."""
    while note := _try_fast_parts(engine, clip, emit):
        emit(Note(note))


def _try_fast_parts(engine: Engine, clip: Clip, emit: Emit) -> str | None:
    """Return `None`, or a note on which part failed and is off now."""
    regular, latents = clip.request.acceleration == "regular", None
    try:
        latents = _denoise(engine, clip, emit)
        _decode(engine, clip, latents, emit)
    except NotFinite:
        part = engine.acceleration.fall_back(None) if regular else None
        if part is None:
            raise
        return INVALID_NUMBERS.format(part=part)
    except Exception as error:  # kernels and compilers raise anything
        other_cause = latents is not None or isinstance(error, WanError) or memory.says_out_of_memory(error)
        part = engine.acceleration.fall_back(error) if regular and not other_cause else None
        if part is None:
            raise
        log.warning("the %s failed", part, exc_info=True)
        emit(Log(f"The {part} failed ({type(error).__name__}).", "WARN"))
        return FAILED_MIDWAY.format(part=part)
    return None


def _denoise(engine: Engine, clip: Clip, emit: Emit) -> torch.Tensor:
    """Return normalised latents, (1, z, 1 + sampled/4, H/8, W/8) float32."""
    pipe, request = engine.pipe, clip.request
    schedule = prepare_scheduler(pipe, request, lightning_end=engine.profile.lightning_end)
    emit(Stage("sampling", f"Making {clip.frames} frames of {clip.size} in {schedule.steps} steps."))
    _switch_turbo(engine, emit)
    engine.acceleration.try_attention(engine.card.sm, engine.card.device, emit)
    may_cache = engine.plan is None or engine.plan.cached
    schedule, parts = engine.acceleration.prepare(
        pipe, request, schedule, may_cache, lightning_end=engine.profile.lightning_end
    )
    emit(Log(parts))
    for event in _describe(schedule, request):
        emit(event)
    for note in _notes_on_cut(engine, clip, schedule):
        emit(Note(note))
    prompts = _read_prompts(engine, clip, schedule)
    if engine.group:
        engine.group.begin(prompts.get("negative_prompt_embeds"))
    eta = EtaEstimator(schedule, _decode_seconds(engine, clip), _high_noise_cost(engine, clip))
    first_forward = pipe.transformer.register_forward_pre_hook(eta.start)
    variants = compiled_variants()
    try:
        latents: torch.Tensor = pipe(
            image=clip.first_frame,
            last_image=clip.last_frame,
            width=clip.size.width,
            height=clip.size.height,
            num_frames=clip.frames,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            guidance_scale_2=request.guidance_scale_2,
            generator=torch.Generator("cpu").manual_seed(_seed(request)),
            callback_on_step_end=_after_step(engine, clip, schedule, eta, emit),
            output_type="latent",
            **prompts,
        ).frames
    finally:
        first_forward.remove()
    if (now := compiled_variants()) > variants:
        emit(Log(f"Blocks were compiled for this kind of clip: {now} variants now, of at most {MAX_VARIANTS}."))
    return latents


def _switch_turbo(engine: Engine, emit: Emit) -> None:
    wanted = engine.profile.lightning
    if wanted and not turbo.is_loaded(engine.pipe):
        turbo.load(engine.pipe, engine.acceleration.settings, emit)
    turbo.switch(engine.pipe, wanted)
    if engine.group:
        engine.group.switch_turbo(wanted)


def prepare_scheduler(pipe: Any, request: ImageToVideoInput, *, lightning_end: bool = False) -> StepSchedule:
    """Give `pipe` a new scheduler; return what its steps will do. `lightning_end` as in `schedule.schedule_of`."""
    boundary = pipe.config.boundary_ratio * pipe.scheduler.config.num_train_timesteps
    kind = LightningEnd if lightning_end else UniPCMultistepScheduler
    pipe.scheduler = kind.from_config(pipe.scheduler.config, flow_shift=request.shift)
    pipe.scheduler.boundary = boundary
    pipe.scheduler.set_timesteps(request.num_inference_steps)
    timesteps = pipe.scheduler.timesteps.tolist()
    return schedule(timesteps, boundary, request.guidance_scale, request.guidance_scale_2)


def _describe(schedule: StepSchedule, request: ImageToVideoInput) -> Iterator[Event]:
    high, low = schedule.high_noise_steps, schedule.low_noise_steps
    yield Log(f"Seed {request.seed}; {high} steps on the high-noise expert, then {low} on the low-noise one.")
    if low == 0:
        yield Note(NO_LOW_NOISE.format(steps=schedule.steps, shift=request.shift))


def _notes_on_cut(engine: Engine, clip: Clip, schedule: StepSchedule) -> Iterator[str]:
    texts = {"The prompt": clip.prompt}
    if any(schedule.guided):
        texts["The negative prompt"] = clip.request.negative_prompt
    for title, text in texts.items():
        if note := note_on_cut(engine.pipe, title, text):
            yield note


def _read_prompts(engine: Engine, clip: Clip, schedule: StepSchedule) -> dict[str, torch.Tensor]:
    read = {"prompt_embeds": prompt_embeds(engine.pipe, engine.prompts, clip.prompt)}
    if any(schedule.guided):
        read["negative_prompt_embeds"] = prompt_embeds(engine.pipe, engine.prompts, clip.request.negative_prompt)
    return read


def _seed(request: ImageToVideoInput) -> int:
    if request.seed is None:
        raise ValueError("A job's seed is drawn when it is submitted; this one has none.")
    return request.seed


def _after_step(
    engine: Engine, clip: Clip, schedule: StepSchedule, eta: EtaEstimator, emit: Emit
) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Return diffusers' `callback_on_step_end`; `emit` raises in it when cancelled."""
    picture = np.asarray(clip.first_frame) if clip.takes_detail else None
    previews = Previews(clip.preview, engine.colours, schedule.steps, picture)

    def callback(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if not torch.isfinite(tensors["latents"]).all():
            raise NotFinite
        left = eta.seconds_left()
        emit(Step("sampling", step + 1, schedule.steps, left))
        guess = pipe.scheduler.model_outputs[-1]  # UniPC keeps the finished latents as this step sees them
        if previews.offer(step, guess, left):
            emit(Preview())
        guidance.set_guided(pipe, schedule, step + 1)
        engine.acceleration.after_step(pipe, schedule, step)
        return {}

    return callback


def _high_noise_cost(engine: Engine, clip: Clip) -> float:
    return engine.profile.experts.high_noise_cost(workload.tokens(clip.size, clip.frames))


def _decode_seconds(engine: Engine, clip: Clip) -> float:
    per_pixel = engine.decode_s_per_pixel or DECODE_S_PER_PIXEL[engine.card.device.type]
    return per_pixel * clip.size.pixels * clip.frames


def _decode(engine: Engine, clip: Clip, latents: torch.Tensor, emit: Emit) -> None:
    emit(Stage("decoding", "Turning latents into frames."))
    began = time.monotonic()
    pieces = _report_steps(iter_decoded(engine.pipe.vae, latents), latents.shape[2], emit)
    if clip.last_frame is not None:
        pieces = thin_out(pieces, clip.frames, clip.request.num_frames)
    frame_file.write(clip.target, pieces, clip.request.num_frames)
    engine.decode_s_per_pixel = (time.monotonic() - began) / (clip.frames * clip.size.pixels)


def _report_steps(pieces: Iterator[Frames], total: int, emit: Emit) -> Iterator[Frames]:
    began = time.monotonic()
    for done, piece in enumerate(pieces, start=1):
        left = (time.monotonic() - began) / done * (total - done)
        emit(Step("decoding", min(done, total), total, left))
        yield piece
