"""Estimate a request: seconds of each stage, ZeroGPU quota, dollars on fal. No torch, no clock."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from wan_core import geometry, pricing
from wan_core.calibration import Calibration
from wan_core.events import Job, StageName
from wan_core.geometry import Size
from wan_core.interpolation import expected_interpolator, seconds_per_pixel
from wan_core.pricing import LentCard
from wan_core.profiles import EngineProfile, Machine, profiles
from wan_core.schedule import CACHE_FROM_STEPS
from wan_core.schema import ImageToVideoInput, VideoWriteMode
from wan_core.settings import Limits
from wan_core.timing import sampled_frames, timing
from wan_core.workload import sampling_flops, share_of_a_card

InterpolationRate = Callable[[str, str], float]
"""Model and "cpu" or "cuda" → seconds per pixel of a new frame, sides padded to 64."""
CarriedOutBy = Callable[[str], str]
"""Requested interpolator → the one that will run."""

ENCODE_S_PER_PIXEL: dict[VideoWriteMode, float] = {"fast": 1.5e-8, "balanced": 4e-8, "small": 16e-8}
ENLARGE_S_PER_PIXEL = {"": 0.0, "with the picture": 1e-7, "plain": 1e-8}
"""Per pixel of a delivered frame; two cores."""


@dataclass(frozen=True)
class Estimate:
    """`on_the_card_s`: by a whole card's priors, as ZeroGPU wants it; finished clips may have had half a card."""

    stages: Mapping[StageName, float]
    dollars_on_fal: float
    on_the_card_s: float
    lent_card: LentCard | None = None

    @property
    def seconds(self) -> float:
        return sum(self.stages.values())

    @property
    def zero_gpu_seconds(self) -> int:
        """The duration to declare for this clip alone."""
        return pricing.zero_gpu_seconds(self.on_the_card_s)

    @property
    def zero_gpu_quota_s(self) -> float | None:
        """Quota the visitor must have left; `None` off ZeroGPU."""
        return quota_of([self])


def quota_of(estimates: Sequence[Estimate]) -> float | None:
    """Quota that clips made in one call take: the weights are paid once. `None` off ZeroGPU."""
    cards = [each.lent_card for each in estimates if each.lent_card]
    if not cards:
        return None
    card: LentCard = "whole" if "whole" in cards else "half"
    return pricing.quota_seconds(pricing.zero_gpu_seconds(sum(each.on_the_card_s for each in estimates)), card)


class Estimator:
    """For a loaded engine."""

    def __init__(
        self,
        machine: Machine,
        calibration: Calibration | None = None,
        interpolation_rate: InterpolationRate = seconds_per_pixel,
        carried_out_by: CarriedOutBy | None = None,
        *,
        film_on_cpu: bool = False,
    ) -> None:
        self.machine = machine
        self._calibration = calibration or Calibration()
        self._interpolation_rate = interpolation_rate
        has_card = machine.device == "cuda"
        self._carried_out_by = carried_out_by or partial(
            expected_interpolator, has_card=has_card, any_runs=has_card or film_on_cpu
        )

    def estimate(
        self, request: ImageToVideoInput, size: Size, profile: EngineProfile, *, picture_detail: bool = True
    ) -> Estimate:
        """`size`: the clip's, not the rendered one."""
        variants = self._variants(request, profile, picture_detail)
        priors = self._by_priors(request, size, profile, variants)
        stages = {
            stage: seconds * self._calibration.factor(self._key(profile), stage, variants.get(stage, ""))
            for stage, seconds in priors.items()
        }
        on_the_card_s = priors["sampling"] + priors["decoding"] + priors["interpolating"]
        card = pricing.lent_card(profile) if self.machine.zero_gpu else None
        return Estimate(stages, pricing.dollars_on_fal(request), on_the_card_s, card)

    def of_job(self, job: Job) -> Estimate:
        options = job.options
        return self.estimate(job.inputs, job.size, profiles()[options.engine], picture_detail=options.picture_detail)

    def seconds_of(self, job: Job) -> float:
        return self.of_job(job).seconds

    def zero_gpu_seconds(self, jobs: Iterable[Job]) -> int:
        """The duration to declare for one call that makes them all."""
        return pricing.zero_gpu_seconds(sum(self.of_job(job).on_the_card_s for job in jobs))

    def wall_limit_s(self, job: Job, limits: Limits) -> float:
        return max(limits.min_job_s, limits.job_estimate_factor * self.seconds_of(job))

    def learn_from(self, job: Job, stage_seconds: Mapping[str, float]) -> None:
        """Skip jobs that reused kept frames."""
        if job.frames_of is None:
            profile, detail = profiles()[job.options.engine], job.options.picture_detail
            self.learn(job.inputs, job.size, profile, stage_seconds, picture_detail=detail)

    def learn(
        self,
        request: ImageToVideoInput,
        size: Size,
        profile: EngineProfile,
        stage_seconds: Mapping[str, float],
        *,
        picture_detail: bool = True,
    ) -> None:
        variants = self._variants(request, profile, picture_detail)
        predicted = self._by_priors(request, size, profile, variants)
        self._calibration.record(self._key(profile), variants, predicted, stage_seconds)

    def _key(self, profile: EngineProfile) -> str:
        shared = f"|{self._sharing} workers" if self._sharing > 1 else ""
        return f"{profile.name}|{self.machine.title}{shared}"

    @property
    def _sharing(self) -> int:
        """How many clips may share the cores; a card has no other."""
        return self.machine.workers if self.machine.device == "cpu" else 1

    def _variants(self, request: ImageToVideoInput, profile: EngineProfile, picture_detail: bool) -> dict[str, str]:
        """What a stage's speed depends on besides engine and machine."""
        enlarging = "" if profile.render_divisor == 1 else "with the picture" if picture_detail else "plain"
        used = self._carried_out_by(request.interpolator_model)
        return {"sampling": request.acceleration, "interpolating": used, "encoding": enlarging}

    def _by_priors(
        self, request: ImageToVideoInput, size: Size, profile: EngineProfile, variants: Mapping[str, str]
    ) -> dict[StageName, float]:
        rendered = geometry.rendered_size(size, profile.render_divisor)
        rate, clip = profile.rates.of_card(self.machine.rated_card), timing(request)
        frames = sampled_frames(request.num_frames)
        encode_s = rate.encode_s * rendered.pixels * profile.rates.encoded_frames(frames)
        encoding_s = ENCODE_S_PER_PIXEL[request.video_write_mode] + ENLARGE_S_PER_PIXEL[variants["encoding"]]
        new_frames = clip.delivered - clip.generated
        flops = sampling_flops(request, rendered, profile.experts, lightning_end=profile.lightning_end)
        sampling_s = flops * self._share(request, profile) / rate.flops / self._gain(request, profile)
        alone: dict[StageName, float] = {
            "sampling": sampling_s + encode_s,
            "decoding": rate.decode_s * rendered.pixels * frames,
            "interpolating": self._interpolating_s(variants["interpolating"], rendered, new_frames),
            "encoding": encoding_s * size.pixels * clip.delivered,
        }
        return {stage: self._sharing * seconds for stage, seconds in alone.items()}

    def _share(self, request: ImageToVideoInput, profile: EngineProfile) -> float:
        """Of the sampling, by the busiest card. The exchanges between cards are left to what finished clips teach."""
        cards = self.machine.cards_per_clip if profile.can_share_cards else 1
        return share_of_a_card(request, cards, self.machine.clip_split, lightning_end=profile.lightning_end)

    def _gain(self, request: ImageToVideoInput, profile: EngineProfile) -> float:
        """ZeroGPU's workers are too short-lived to compile; cards that share a clip neither compile nor cache."""
        together = self.machine.cards_per_clip > 1 and profile.can_share_cards
        return _gain(request, profile, compiles=not (self.machine.zero_gpu or together), caches=not together)

    def _interpolating_s(self, model: str, rendered: Size, new_frames: int) -> float:
        if new_frames == 0:
            return 0.0
        pixels = _pad_to_64(rendered.width) * _pad_to_64(rendered.height)
        return self._interpolation_rate(model, self.machine.device) * pixels * new_frames


def _gain(request: ImageToVideoInput, profile: EngineProfile, *, compiles: bool, caches: bool) -> float:
    """Speed-up of `regular`, by priors.

    The step cache gains in the low-noise expert's many steps.
    """
    if request.acceleration == "none":
        return 1.0
    rates = profile.rates
    whole_steps = rates.attention_gain * (rates.compile_gain if compiles else 1.0)
    enough = request.num_inference_steps >= CACHE_FROM_STEPS and not profile.lightning_end
    return whole_steps * (rates.cache_gain if caches and enough else 1.0)


def _pad_to_64(side: int) -> int:
    return 64 * math.ceil(side / 64)
