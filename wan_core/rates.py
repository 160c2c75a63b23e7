"""What machines make of an engine before any clip was made there: priors by card.

Sources: published times (Wan 2.2's README, LightX2V, diffusers) or derived from them; the CPU's are measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rate:
    """Transformer FLOP/s without acceleration, VAE seconds for a pixel of a frame."""

    flops: float
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class Rates:
    """The rates of an engine: of cards by a part of their name, and `default` for every other machine.

    `attention_gain` and `cache_gain`: how much faster `regular` runs the same forwards, by better attention and
    compiled blocks, and by the step cache.
    """

    default: Rate
    cards: Mapping[str, Rate] = field(default_factory=dict, hash=False)
    attention_gain: float = 1.0
    cache_gain: float = 1.0

    def of_card(self, card: str) -> Rate:
        """The rate of a card by its driver's name for it ("NVIDIA H100 80GB HBM3")."""
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
    attention_gain=1.5,
    cache_gain=1.3,
)
MINIATURE_RATES = Rates(default=Rate(2.5e11, 1.2e-6, 3e-6))
"""Two cores with other work beside it; it runs on the CPU whatever the card."""
