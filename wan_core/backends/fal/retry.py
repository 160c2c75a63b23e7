"""Waiting for fal: how long, how often, and until when somebody wishes to stop. Knows no network."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from wan_core.errors import Cancelled

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Timeouts:
    """Seconds: between two looks at a job; until an answer must be there (`send_s` where something big is sent, and
    where a lost answer costs money); how long fal may be silent or in trouble before its job is given up.
    """

    poll_s: float = 1.0
    answer_s: float = 10.0
    send_s: float = 120.0
    silence_s: float = 300.0
    longest_pause_s: float = 30.0


class FalTrouble(Exception):
    """A question that fal did not answer as it should."""

    @property
    def may_pass(self) -> bool:
        """Whether asking again can help."""
        return True


@dataclass
class CancelToken:
    """A wish to stop. `there`: fal is to stop as well; else this app closes and the job goes on without it."""

    requested: threading.Event = field(default_factory=threading.Event)
    at_fal: bool = False

    def wait(self, seconds: float) -> None:
        """Raises Cancelled as soon as somebody wishes to stop."""
        if self.requested.wait(seconds):
            raise Cancelled()


def retry(ask: Callable[[], Answer], wait: Callable[[float], None], timeouts: Timeouts, limit_s: float) -> Answer:
    """The answer to `ask`, which is asked again, less and less often, for `limit_s` while its trouble may pass."""
    over, pause = time.monotonic() + limit_s, timeouts.poll_s
    while True:
        try:
            return ask()
        except FalTrouble as trouble:
            if not trouble.may_pass or time.monotonic() > over:
                raise
        wait(pause)
        pause = min(2 * pause, timeouts.longest_pause_s)
