"""Watch a download by the hub's client, which blocks for hours and reports only to progress bars."""

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
    """Raised in the client's thread at its next byte."""


class Progress:
    def __init__(self, total: int = 1) -> None:
        self._total = max(total, 1)
        self._began = self._last = time.monotonic()
        self._lock = Lock()  # the client downloads several files at once
        self._bytes = 0.0
        self._told = 0
        self._given_up = False

    def watch(self, work: Callable[[], T], silence_s: float, report: Report) -> T:
        """`report` gets each percent and may raise to stop `work`. Raises what either raises.

        Raises:
            TimeoutError: nothing came for `silence_s`.
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
        """For the client's `tqdm_class`."""
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
        """Several bars count the same bytes; the furthest is right."""
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
