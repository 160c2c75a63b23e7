"""One clip: a picture and a prompt → raw frames on disk, told as events while it happens.

The diffusers pipeline does the denoising; here the request becomes its arguments, its callback becomes our events, and
its latents become frames. Knows nothing of interpolation, encoding or who asked. Guarantees: the same request gives the
same frames bit for bit on one machine; a cancelled clip stops within one step and leaves no file.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler
from PIL import Image

from wan_core import frames as frame_file
from wan_core import geometry
from wan_core.engine import guidance
from wan_core.engine.decoding import NotFinite, decoded
from wan_core.engine.following import Emit, follow
from wan_core.engine.framing import seen_by_engine
from wan_core.engine.guidance import Course
from wan_core.engine.loading import Engine
from wan_core.engine.remembering import prompt_embeds
from wan_core.errors import BackendError
from wan_core.events import Event, Job, Log, Note, Stage, Step
from wan_core.frames import Frames
from wan_core.geometry import Size
from wan_core.schema import ImageToVideoInput
from wan_core.timing import sampled_frames

DECODE_S_PER_PIXEL = {"cpu": 2.5e-6, "cuda": 3e-8}
"""Before the first clip: the miniature's VAE on two cores, Wan's on a large card (measured; published)."""

NO_LOW_NOISE = (
    "With {steps} steps and shift {shift:g} every step falls to the high-noise expert and the low-noise one never "
    "runs: the clip stays noisy. Take more steps or a smaller shift."
)


def sample(engine: Engine, job: Job, prompt: str, target: Path, cancelled: Callable[[], bool]) -> Iterator[Event]:
    """Samples the clip of `job` and writes its frames to `target`: uint8 (num_frames, H, W, 3) .npy.

    H and W are the rendered size, `geometry.rendered_size(job.size, profile.render_divisor)`. `prompt` is the prompt as
    it is used, maybe expanded. The work runs in a thread; closing the generator or `cancelled()` stops it in one step.

    Raises:
        Cancelled: `cancelled()` was true.
        BackendError: `out_of_memory`, `storage_full`, or `no_media_generated` for a result that is not finite.
    """
    return follow(lambda emit: _make_frames(engine, job, prompt, target, emit), cancelled)


@dataclass
class Pace:
    """A model of the remaining work: forwards cost what they lately cost, decoding what it cost last time."""

    course: Course
    decode_s: float
    clock: Callable[[], float] = time.monotonic
    stamps: list[float] = field(default_factory=list)

    def start(self) -> None:
        self.stamps.append(self.clock())

    def seconds_left(self) -> float:
        """After one more finished step. The first step warms up, so later ones leave it out of the mean."""
        self.stamps.append(self.clock())
        done = len(self.stamps) - 1
        since = 1 if done > 1 else 0
        forwards = self.course.forwards_after(since) - self.course.forwards_after(done)
        per_forward = (self.stamps[-1] - self.stamps[since]) / forwards
        return per_forward * self.course.forwards_after(done) + self.decode_s


def _make_frames(engine: Engine, job: Job, prompt: str, target: Path, emit: Emit) -> None:
    size = geometry.rendered_size(job.size, engine.profile.render_divisor)
    try:
        latents = _denoise(engine, job, prompt, size, emit)
        _decode(engine, latents, target, job.request.num_frames, emit)
    except NotFinite as error:
        raise BackendError("no_media_generated", "The model produced invalid numbers; try another seed.") from error
    except torch.OutOfMemoryError as error:
        advice = "Try fewer frames or a smaller resolution."
        raise BackendError("out_of_memory", f"The card's memory is not enough for {size} here. {advice}") from error
    finally:
        engine.pipe.maybe_free_model_hooks()


def _denoise(engine: Engine, job: Job, prompt: str, size: Size, emit: Emit) -> torch.Tensor:
    """The normalised latents of the clip, (1, z, 1 + sampled/4, H/8, W/8) float32."""
    pipe, request = engine.pipe, job.request
    frames = sampled_frames(request.num_frames)
    emit(Stage("sampling", f"{request.num_inference_steps} steps on {frames} frames of {size}."))
    course = prepared(pipe, request)
    for event in _about(course, request):
        emit(event)
    with Image.open(job.picture) as picture:
        first_frame = seen_by_engine(picture.convert("RGB"), job.size, size)
    pace = Pace(course, _decode_seconds(engine, size, frames))
    prompts = _read_prompts(engine, request, course, prompt)
    pace.start()
    latents: torch.Tensor = pipe(
        image=first_frame,
        width=size.width,
        height=size.height,
        num_frames=frames,
        num_inference_steps=course.steps,
        guidance_scale=request.guidance_scale,
        guidance_scale_2=request.guidance_scale_2,
        generator=torch.Generator("cpu").manual_seed(_seed(request)),
        callback_on_step_end=_after_step(course, pace, emit),
        output_type="latent",
        **prompts,
    ).frames
    return latents


def prepared(pipe: Any, request: ImageToVideoInput) -> Course:
    """Gives the pipeline a scheduler of this request's own and says what its steps will do."""
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=request.shift)
    pipe.scheduler.set_timesteps(request.num_inference_steps)
    boundary = pipe.config.boundary_ratio * pipe.scheduler.config.num_train_timesteps
    timesteps = pipe.scheduler.timesteps.tolist()
    return guidance.course(timesteps, boundary, request.guidance_scale, request.guidance_scale_2)


def _about(course: Course, request: ImageToVideoInput) -> Iterator[Event]:
    high, low = course.high_noise_steps, course.low_noise_steps
    yield Log(f"Seed {request.seed}; {high} steps on the high-noise expert, then {low} on the low-noise one.")
    if low == 0:
        yield Note(NO_LOW_NOISE.format(steps=course.steps, shift=request.shift))


def _read_prompts(engine: Engine, request: ImageToVideoInput, course: Course, prompt: str) -> dict[str, torch.Tensor]:
    read = {"prompt_embeds": prompt_embeds(engine.pipe, engine.prompts, prompt)}
    if any(course.guided):
        read["negative_prompt_embeds"] = prompt_embeds(engine.pipe, engine.prompts, request.negative_prompt)
    return read


def _seed(request: ImageToVideoInput) -> int:
    if request.seed is None:
        raise ValueError("A job's seed is drawn when it is submitted; this one has none.")
    return request.seed


def _after_step(course: Course, pace: Pace, emit: Emit) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """diffusers' `callback_on_step_end`: tells, checks and steers. `emit` raises here when the clip is cancelled."""

    def callback(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if not torch.isfinite(tensors["latents"]).all():
            raise NotFinite
        emit(Step("sampling", step + 1, course.steps, pace.seconds_left()))
        guidance.steer(pipe, course, step + 1)
        return {}

    return callback


def _decode_seconds(engine: Engine, size: Size, frames: int) -> float:
    per_pixel = engine.decode_s_per_pixel or DECODE_S_PER_PIXEL[engine.pipe.device.type]
    return per_pixel * size.pixels * frames


def _decode(engine: Engine, latents: torch.Tensor, target: Path, num_frames: int, emit: Emit) -> None:
    emit(Stage("decoding", "Turning latents into frames."))
    began = time.monotonic()
    frame_file.write(target, _counted(decoded(engine.pipe.vae, latents), latents.shape[2], emit), num_frames)
    pixels = latents.shape[3] * latents.shape[4] * engine.pipe.vae_scale_factor_spatial**2
    engine.decode_s_per_pixel = (time.monotonic() - began) / (num_frames * pixels)


def _counted(pieces: Iterator[Frames], total: int, emit: Emit) -> Iterator[Frames]:
    """The same pieces, each told as a step with the time that is left."""
    began = time.monotonic()
    for done, piece in enumerate(pieces, start=1):
        left = (time.monotonic() - began) / done * (total - done)
        emit(Step("decoding", min(done, total), total, left))
        yield piece
