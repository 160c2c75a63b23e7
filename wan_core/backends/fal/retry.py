"""Timeouts, retries and cancellation. Knows no network."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from wan_core.errors import Cancelled

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Timeouts:
    """`send_s`: for uploads and where a lost answer costs money. `silence_s`: how long fal may fail."""

    poll_s: float = 1.0
    answer_s: float = 10.0
    send_s: float = 120.0
    silence_s: float = 300.0
    longest_pause_s: float = 30.0


class FalTrouble(Exception):
    @property
    def may_pass(self) -> bool:
        return True


@dataclass
class CancelToken:
    """`at_fal`: cancel there too; else the job goes on without this app."""

    requested: threading.Event = field(default_factory=threading.Event)
    at_fal: bool = False

    def wait(self, seconds: float) -> None:
        """Raises Cancelled once a stop is requested."""
        if self.requested.wait(seconds):
            raise Cancelled()


def retry(ask: Callable[[], Answer], wait: Callable[[float], None], timeouts: Timeouts, limit_s: float) -> Answer:
    """With growing pauses, for `limit_s`. Raises FalTrouble if it lasts or cannot pass."""
    over, pause = time.monotonic() + limit_s, timeouts.poll_s
    while True:
        try:
            return ask()
        except FalTrouble as trouble:
            if not trouble.may_pass or time.monotonic() > over:
                raise
        wait(pause)
        pause = min(2 * pause, timeouts.longest_pause_s)
