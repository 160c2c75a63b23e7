"""Estimate the time left, corrected at every step."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from wan_core.schedule import StepSchedule


@dataclass
class EtaEstimator:
    """Forwards cost their mean so far, decoding costs `decode_s`.

    `high_noise_cost`: a high-noise forward relative to a low-noise one (A14B: 1; the miniature's experts differ).
    """

    schedule: StepSchedule
    decode_s: float
    high_noise_cost: float = 1.0
    clock: Callable[[], float] = time.monotonic
    stamps: list[float] = field(default_factory=list)

    def start(self, *_: object) -> None:
        """A forward hook: only the first call counts."""
        if not self.stamps:
            self.stamps = [self.clock()]

    def seconds_left(self) -> float:
        """Call once after each step. Later means leave out the first step, which warms up."""
        self.stamps.append(self.clock())
        done = len(self.stamps) - 1
        since = 1 if done > 1 else 0
        left = self.schedule.forwards_after(done, self.high_noise_cost)
        forwards = self.schedule.forwards_after(since, self.high_noise_cost) - left
        return (self.stamps[-1] - self.stamps[since]) / forwards * left + self.decode_s
