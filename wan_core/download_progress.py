"""A download by the hub's client, watched from outside: how far it is, and whether anything still comes.

The client blocks for hours, retries for minutes and tells only its progress bars. So it runs in a thread, its bars
report here, and whoever waits can give it up. Knows no repository and no file.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock, Thread
from typing import Any, TypeVar

from wan_core.events import Event, Step

POLL_S = 0.05

T = TypeVar("T")
Report = Callable[[Event], None]


class GivenUp(Exception):
    """Raised in the client's own thread at its next byte, once nobody waits for it any more."""


class Progress:
    """How many of `total` bytes came, and when the last did."""

    def __init__(self, total: int = 1) -> None:
        self._total = max(total, 1)
        self._began = self._last = time.monotonic()
        self._lock = Lock()  # the client downloads several files at once
        self._bytes = 0.0
        self._told = 0
        self._given_up = False

    def watch(self, work: Callable[[], T], silence_s: float, report: Report) -> T:
        """What `work` returns in a thread of its own; `report` hears of each percent, and may raise to stop it.

        Raises:
            TimeoutError: nothing came for `silence_s`.
            Exception: what `work` or `report` raises.
        """
        outcome: Future[T] = Future()
        Thread(target=_settle, args=(outcome, work), daemon=True, name="download").start()
        try:
            while not wait([outcome], POLL_S).done:
                self._report(report)
                if time.monotonic() - self._last > silence_s:
                    raise TimeoutError
        finally:
            self._given_up = not outcome.done()
        return outcome.result()

    def bar_class(self) -> type[Any]:
        """A mute progress bar, for `tqdm_class` of the client's functions."""
        from huggingface_hub.utils.tqdm import tqdm

        class Bar(tqdm):
            def __init__(bar, *args: Any, **options: Any) -> None:
                bar.counts_bytes = options.get("unit") == "B"
                super().__init__(*args, **options | {"disable": True})  # type: ignore[no-untyped-call]

            def update(bar, n: float | None = 1) -> None:
                with self._lock:
                    bar.n += n or 0
                    self._hear(bar.n if bar.counts_bytes else 0)

        return Bar

    def _hear(self, count: float) -> None:
        """A bar stands at `count` bytes. Several bars count the same bytes; the furthest is right."""
        if self._given_up:
            raise GivenUp
        self._last = time.monotonic()
        self._bytes = max(self._bytes, count)

    def _report(self, report: Report) -> None:
        percent = int(min(99, 100 * self._bytes / self._total))
        if percent > self._told:
            self._told = percent
            report(Step("loading", percent, 100, (time.monotonic() - self._began) * (100 / percent - 1)))


def _settle(outcome: "Future[T]", work: Callable[[], T]) -> None:
    try:
        outcome.set_result(work())
    except Exception as error:  # noqa: BLE001  `watch` raises it again
        outcome.set_exception(error)
