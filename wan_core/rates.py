"""Speeds of an engine by card, before any clip was made there.

Published times (Wan 2.2's README, LightX2V, diffusers) or derived from them; the CPU's are measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rate:
    """Transformer FLOP/s without acceleration; VAE seconds per pixel of a frame."""

    flops: float
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class Rates:
    """`cards`: by a part of the card's name. `*_gain`: speed-up of `regular`.

    `most_encoded`: frames the VAE encodes at most (the miniature repeats the latents of black frames).
    """

    default: Rate
    cards: Mapping[str, Rate] = field(default_factory=dict, hash=False)
    attention_gain: float = 1.0
    compile_gain: float = 1.0
    cache_gain: float = 1.0
    most_encoded: int | None = None

    def encoded_frames(self, frames: int) -> int:
        return frames if self.most_encoded is None else min(frames, self.most_encoded)

    def of_card(self, card: str) -> Rate:
        """`card`: the driver's name ("NVIDIA H100 80GB HBM3")."""
        return next((rate for name, rate in self.cards.items() if name in card), self.default)


RTX_PRO_6000 = "RTX PRO 6000"
A14B_RATES = Rates(
    default=Rate(100e12, 6e-8, 10e-8),
    cards={
        "H200": Rate(343e12, 1.6e-8, 2.7e-8),
        "H100": Rate(343e12, 1.6e-8, 2.7e-8),
        "B200": Rate(600e12, 1.2e-8, 2e-8),
        "A100": Rate(166e12, 3e-8, 5e-8),
        RTX_PRO_6000: Rate(181e12, 3e-8, 5e-8),
        "5090": Rate(160e12, 3e-8, 5e-8),
        "4090": Rate(110e12, 5e-8, 8e-8),
        "L40S": Rate(120e12, 5e-8, 8e-8),
    },
    attention_gain=1.2,
    compile_gain=1.25,
    cache_gain=1.3,
)
MINIATURE_RATES = Rates(default=Rate(4.2e10, 4e-7, 2.2e-6), most_encoded=5)
"""Two CPU cores, whatever the card."""
