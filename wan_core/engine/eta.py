"""How long it still takes: a model of the remaining work, corrected at every step."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from wan_core.schedule import StepSchedule


@dataclass
class EtaEstimator:
    """Forwards cost what they lately cost, decoding costs `decode_s`.

    A forward of the high-noise expert costs `high_noise_cost` of one of the low-noise expert (A14B: 1; the miniature's
    experts differ in size).
    """

    schedule: StepSchedule
    decode_s: float
    high_noise_cost: float = 1.0
    clock: Callable[[], float] = time.monotonic
    stamps: list[float] = field(default_factory=list)

    def start(self, *_: object) -> None:
        """The first step begins; also a hook of the expert's forward, which runs many times."""
        if not self.stamps:
            self.stamps = [self.clock()]

    def seconds_left(self) -> float:
        """After one more finished step. The first one warms up, so later ones leave it out of the mean."""
        self.stamps.append(self.clock())
        done = len(self.stamps) - 1
        since = 1 if done > 1 else 0
        left = self.schedule.forwards_after(done, self.high_noise_cost)
        forwards = self.schedule.forwards_after(since, self.high_noise_cost) - left
        return (self.stamps[-1] - self.stamps[since]) / forwards * left + self.decode_s
