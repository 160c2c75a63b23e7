"""What a request will take, said before the click: seconds, ZeroGPU quota, dollars on fal.

Work in floating-point operations (a closed formula) × what this machine makes of it (a prior by card) × what finished
clips taught (a factor for each stage). No torch, no clock; the store of factors is a small JSON file passed in.

Sources: the formula agrees with torch's FlopCounterMode on the full model (1.678 PFLOP a forward at 832×480×81, 6.523
at 1280×720×81); priors are published times (Wan 2.2's README, LightX2V, diffusers) or derived from them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from wan_core import geometry
from wan_core.events import Job, StageName
from wan_core.geometry import Size
from wan_core.interpolation import seconds_per_pixel
from wan_core.profiles import EngineProfile, Machine, profiles
from wan_core.schema import ImageToVideoInput, InterpolatorModel, Resolution, VideoWriteMode
from wan_core.settings import Limits
from wan_core.timing import TEMPORAL_STRIDE, sampled_frames, timing

DOLLARS_PER_VIDEO_SECOND: dict[Resolution, float] = {"480p": 0.04, "580p": 0.06, "720p": 0.08}
FAL_FRAMES_PER_VIDEO_SECOND = 16  # fal bills num_frames / 16, whatever frames_per_second says
BOUNDARY = 900  # timesteps from here up are the high-noise expert's
PATCH = 16  # pixels of one token's side: VAE 8 × patch 2
TEXT_TOKENS = 512

UNGUIDED_END = 0.25
"""`regular` leaves out the unguided pass in this last part of the steps: 12-18 % faster, near-lossless."""
CACHE_FROM_STEPS = 16
"""`regular` reuses a step's residual from this many steps up; with fewer, neighbours differ too much."""
ATTENTION_GAIN = 1.5  # better attention and compiled blocks, on cards
CACHE_GAIN = 1.3

ENCODE_S_PER_PIXEL: dict[VideoWriteMode, float] = {"fast": 1.5e-8, "balanced": 4e-8, "small": 16e-8}
INTERPOLATE_S_PER_PIXEL: dict[tuple[InterpolatorModel, str], float] = {
    ("film", "cpu"): 80e-6,
    ("rife", "cpu"): 1.0e-6,
    ("film", "cuda"): 70e-9,
    ("rife", "cuda"): 8e-9,
}
"""Seconds for a pixel of each new frame, sides padded to 64. CPU: measured on two cores; CUDA: counted operations."""
WEIGHTS_S = 15  # ZeroGPU streams the weights into a fresh worker
DURATION_MARGIN = 1.2
KEPT = 9  # ratios of finished clips, per engine, machine and stage


@dataclass(frozen=True)
class Transformer:
    """The shape of one expert."""

    width: int
    layers: int
    ffn: int

    def forward_flops(self, tokens: int) -> float:
        """One forward over `tokens` video tokens and 512 text tokens."""
        linear = 2 * (tokens * (6 * self.width**2 + 2 * self.width * self.ffn) + 2 * TEXT_TOKENS * self.width**2)
        attention = 4 * self.width * tokens * (tokens + TEXT_TOKENS)
        return float(self.layers * (linear + attention))


A14B = Transformer(width=5120, layers=40, ffn=13824)
MINIATURE_HIGH = Transformer(width=240, layers=1, ffn=64)
MINIATURE_LOW = Transformer(width=240, layers=3, ffn=1408)


@dataclass(frozen=True)
class Rate:
    """What a machine makes of an engine: transformer FLOP/s without acceleration, VAE seconds a pixel of a frame."""

    flops: float
    encode_s: float
    decode_s: float


CPU = Rate(2.5e11, 1.2e-6, 3e-6)  # two cores with other work beside it
UNKNOWN_CARD = Rate(100e12, 6e-8, 10e-8)
CARDS = {
    "H200": Rate(343e12, 1.6e-8, 2.7e-8),
    "H100": Rate(343e12, 1.6e-8, 2.7e-8),
    "B200": Rate(600e12, 1.2e-8, 2e-8),
    "A100": Rate(166e12, 3e-8, 5e-8),
    "RTX PRO 6000": Rate(181e12, 3e-8, 5e-8),
    "5090": Rate(160e12, 3e-8, 5e-8),
    "4090": Rate(110e12, 5e-8, 8e-8),
    "L40S": Rate(120e12, 5e-8, 8e-8),
}
ZERO_GPU = CARDS["RTX PRO 6000"]


@dataclass(frozen=True)
class Estimate:
    """Seconds of each stage of a clip; `dollars_on_fal` is what fal asks for the same request."""

    stages: Mapping[StageName, float]
    dollars_on_fal: float

    @property
    def seconds(self) -> float:
        return sum(self.stages.values())

    @property
    def zero_gpu_seconds(self) -> int:
        """The duration to declare: what a whole card needs, weights and a margin included."""
        on_the_card = self.stages["sampling"] + self.stages["decoding"] + self.stages["interpolating"]
        return math.ceil((on_the_card + WEIGHTS_S) * DURATION_MARGIN)

    def quota_seconds(self, whole_card: bool) -> float:
        """ZeroGPU quota a clip uses: half a card counts once but is given 1.5 × the time, a whole one counts twice."""
        return self.zero_gpu_seconds * (2.0 if whole_card else 1.5)


class Calibration:
    """How long finished clips took, as a multiple of what the priors said: a factor for each machine and stage."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._ratios: dict[str, list[float]] = _read(path)

    def factor(self, key: str, stage: StageName, variant: str) -> float:
        """The median of the stage's last ratios; of its other variants where this one never ran."""
        same_stage = f"{key}|{stage}|"
        ratios = self._ratios.get(same_stage + variant)
        others = [ratio for name, known in self._ratios.items() if name.startswith(same_stage) for ratio in known]
        return median(ratios or others or [1.0])

    def record(
        self, key: str, variants: Mapping[str, str], predicted: Mapping[StageName, float], took: Mapping[str, float]
    ) -> None:
        """Learns from one clip. `predicted` is of the priors alone; stages that were not predicted are left out."""
        for stage, seconds in predicted.items():
            if seconds > 0 and took.get(stage, 0) > 0:
                ratios = self._ratios.setdefault(f"{key}|{stage}|{variants.get(stage, '')}", [])
                ratios[:] = [*ratios, took[stage] / seconds][-KEPT:]
        self._write()

    def _write(self) -> None:
        if self._path:
            partial = self._path.with_name(self._path.name + ".part")
            partial.write_text(json.dumps(self._ratios, indent=1), "utf-8")
            partial.replace(self._path)


def estimate(
    request: ImageToVideoInput, size: Size, profile: EngineProfile, machine: Machine, calibration: Calibration
) -> Estimate:
    """What `request` takes on `machine` for a clip of `size`, with the engine already loaded."""
    key, variants = _key(profile, machine), _variants(request)
    stages = {
        stage: seconds * calibration.factor(key, stage, variants.get(stage, ""))
        for stage, seconds in uncalibrated(request, size, profile, machine).items()
    }
    return Estimate(stages, dollars_on_fal(request))


def of_job(job: Job, machine: Machine, calibration: Calibration) -> Estimate:
    """What a job that was accepted takes on `machine`."""
    return estimate(job.inputs, job.size, profiles()[job.options.engine], machine, calibration)


def seconds_of(job: Job, machine: Machine, calibration: Calibration) -> float:
    """As `of_job`, the sum."""
    return of_job(job, machine, calibration).seconds


def wall_limit_s(job: Job, machine: Machine, calibration: Calibration, limits: Limits) -> float:
    """Seconds after which a job is stopped: far more than it should take."""
    return max(limits.min_job_s, limits.job_estimate_factor * seconds_of(job, machine, calibration))


def learn_from(job: Job, stage_seconds: Mapping[str, float], machine: Machine, calibration: Calibration) -> None:
    """Learns from a finished job of this machine; one that finished kept frames again says little."""
    if job.frames_of is None:
        learn(calibration, job.inputs, job.size, profiles()[job.options.engine], machine, stage_seconds)


def learn(
    calibration: Calibration,
    request: ImageToVideoInput,
    size: Size,
    profile: EngineProfile,
    machine: Machine,
    stage_seconds: Mapping[str, float],
) -> None:
    """Learns from a finished clip: `stage_seconds` as in its `Result`."""
    predicted = uncalibrated(request, size, profile, machine)
    calibration.record(_key(profile, machine), _variants(request), predicted, stage_seconds)


def _key(profile: EngineProfile, machine: Machine) -> str:
    return f"{profile.name}|{machine.title}"


def _variants(request: ImageToVideoInput) -> dict[str, str]:
    """What a stage's speed depends on besides engine and machine."""
    return {"sampling": request.acceleration, "interpolating": request.interpolator_model}


def dollars_on_fal(request: ImageToVideoInput) -> float:
    """fal's price: video seconds at 16 frames a second × the resolution's rate."""
    return request.num_frames / FAL_FRAMES_PER_VIDEO_SECOND * DOLLARS_PER_VIDEO_SECOND[request.resolution]


def uncalibrated(
    request: ImageToVideoInput, size: Size, profile: EngineProfile, machine: Machine
) -> dict[StageName, float]:
    """Seconds of each stage by the priors alone."""
    rendered = geometry.rendered_size(size, profile.render_divisor)
    rate, frames = rate_of(profile, machine), sampled_frames(request.num_frames)
    clip = timing(request)
    video_tokens = tokens(rendered, frames)
    flops = sum(
        count * expert.forward_flops(video_tokens)
        for count, expert in zip(forwards_of_experts(request), experts_of(profile), strict=True)
    )
    return {
        "sampling": flops / rate.flops / gain(request, profile) + rate.encode_s * rendered.pixels * frames,
        "decoding": rate.decode_s * rendered.pixels * frames,
        "interpolating": interpolating_s(request, rendered, clip.delivered - clip.generated, machine),
        "encoding": ENCODE_S_PER_PIXEL[request.video_write_mode] * size.pixels * clip.delivered,
    }


def interpolating_s(request: ImageToVideoInput, rendered: Size, new_frames: int, machine: Machine) -> float:
    """Seconds for `new_frames` between frames of `rendered` size, loading left out."""
    if new_frames == 0:
        return 0.0
    kind = "cuda" if machine.zero_gpu or machine.vram_bytes else "cpu"
    pixels = _padded(rendered.width) * _padded(rendered.height)
    return seconds_per_pixel(request.interpolator_model, kind) * pixels * new_frames


def _padded(side: int) -> int:
    return 64 * math.ceil(side / 64)


def experts_of(profile: EngineProfile) -> tuple[Transformer, Transformer]:
    """The high-noise expert and the low-noise one."""
    return (A14B, A14B) if profile.needs_cuda else (MINIATURE_HIGH, MINIATURE_LOW)


def rate_of(profile: EngineProfile, machine: Machine) -> Rate:
    if not profile.needs_cuda:
        return CPU
    if machine.zero_gpu:
        return ZERO_GPU
    return next((rate for name, rate in CARDS.items() if name in machine.card), UNKNOWN_CARD)


def tokens(rendered: Size, frames: int) -> int:
    """Video tokens of a clip of `frames` (4k+1) frames."""
    latent_frames = (frames - 1) // TEMPORAL_STRIDE + 1
    return latent_frames * (rendered.width // PATCH) * (rendered.height // PATCH)


def timesteps(steps: int, shift: float) -> list[int]:
    """The timesteps of UniPC with flow sigmas: shift·σ / (1 + (shift-1)·σ) of σ falling evenly from 1 to 0.001."""
    sigmas = [min(1 - 0.999 * step / steps, 0.999999) for step in range(steps)]
    return [int(1000 * shift * sigma / (1 + (shift - 1) * sigma)) for sigma in sigmas]


def forwards(request: ImageToVideoInput) -> int:
    """Expert forwards of a request: one a step, a second one where the step is guided."""
    return sum(forwards_of_experts(request))


def forwards_of_experts(request: ImageToVideoInput) -> tuple[int, int]:
    """Forwards of the high-noise expert and of the low-noise one."""
    steps = request.num_inference_steps
    guided_until = steps if request.acceleration == "none" else steps - round(steps * UNGUIDED_END)
    counts = {True: 0, False: 0}
    for step, timestep in enumerate(timesteps(steps, request.shift)):
        scale = request.guidance_scale if timestep >= BOUNDARY else request.guidance_scale_2
        counts[timestep >= BOUNDARY] += 2 if scale > 1 and step < guided_until else 1
    return counts[True], counts[False]


def gain(request: ImageToVideoInput, profile: EngineProfile) -> float:
    """How much faster `regular` runs the same forwards (before anything was measured here)."""
    if request.acceleration == "none" or not profile.needs_cuda:
        return 1.0
    return ATTENTION_GAIN * (CACHE_GAIN if request.num_inference_steps >= CACHE_FROM_STEPS else 1.0)


def _read(path: Path | None) -> dict[str, list[float]]:
    """The stored ratios; an unreadable file is no reason not to start, the next clips teach anew."""
    try:
        stored: dict[str, list[float]] = json.loads(path.read_text("utf-8")) if path else {}
        return {str(key): [float(ratio) for ratio in ratios] for key, ratios in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
