"""Floating-point operations of a request's transformers, as torch's FlopCounterMode counts them: 1.678 PFLOP a forward
of the full model at 832×480×81, 6.523 at 1280×720×81.
"""

from dataclasses import dataclass

from wan_core.geometry import Size
from wan_core.schedule import schedule_of
from wan_core.schema import ImageToVideoInput
from wan_core.settings import ClipSplit
from wan_core.timing import TEMPORAL_STRIDE, sampled_frames

PATCH = 16  # pixels of one token's side: VAE 8 × patch 2
TEXT_TOKENS = 512


@dataclass(frozen=True)
class Transformer:
    width: int
    layers: int
    ffn: int

    def forward_flops(self, tokens: int) -> float:
        """With 512 text tokens."""
        linear = 2 * (tokens * (6 * self.width**2 + 2 * self.width * self.ffn) + 2 * TEXT_TOKENS * self.width**2)
        attention = 4 * self.width * tokens * (tokens + TEXT_TOKENS)
        return float(self.layers * (linear + attention))


@dataclass(frozen=True)
class Experts:
    high_noise: Transformer
    low_noise: Transformer

    def high_noise_cost(self, tokens: int) -> float:
        """In low-noise forwards."""
        return self.high_noise.forward_flops(tokens) / self.low_noise.forward_flops(tokens)


A14B_EXPERT = Transformer(width=5120, layers=40, ffn=13824)
A14B = Experts(A14B_EXPERT, A14B_EXPERT)


def tokens(rendered: Size, frames: int) -> int:
    """`frames` is 4k+1."""
    latent_frames = (frames - 1) // TEMPORAL_STRIDE + 1
    return latent_frames * (rendered.width // PATCH) * (rendered.height // PATCH)


def sampling_flops(
    request: ImageToVideoInput, rendered: Size, experts: Experts, *, lightning_end: bool = False
) -> float:
    """`lightning_end` as in `schedule_of`."""
    course = schedule_of(request, lightning_end=lightning_end)
    video_tokens = tokens(rendered, sampled_frames(request.num_frames))
    high_noise = course.high_noise_forwards * experts.high_noise.forward_flops(video_tokens)
    return high_noise + course.low_noise_forwards * experts.low_noise.forward_flops(video_tokens)


def share_of_a_card(request: ImageToVideoInput, cards: int, split: ClipSplit, *, lightning_end: bool = False) -> float:
    """Of the sampling's operations, those of the busiest card. `guidance`: half of them rest in unguided steps."""
    if cards == 1 or split == "ulysses":
        return 1 / cards
    course = schedule_of(request, lightning_end=lightning_end)
    return course.steps / course.forwards / (cards // 2)
