"""Run work in a thread and yield its events: a ZeroGPU function must yield at every step to be cancellable."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

from wan_core.errors import Cancelled
from wan_core.events import Event, Heartbeat

Emit = Callable[[Event], None]
HEARTBEAT_S = 1.0  # a closed generator is noticed at the next yield


def run_in_thread(work: Callable[[Emit], None], cancelled: Callable[[], bool]) -> Iterator[Event]:
    """Yield what `work(emit)` emits, and `Heartbeat` in silence. Raises what `work` raises.

    `emit` raises `Cancelled` once `cancelled()` is true or the generator is closed; the thread ends first.
    """
    channel: SimpleQueue[Event | None] = SimpleQueue()
    closed = threading.Event()

    def emit(event: Event) -> None:
        if closed.is_set() or cancelled():
            raise Cancelled
        channel.put(event)

    with ThreadPoolExecutor(1, "engine") as thread:
        future = thread.submit(work, emit)
        future.add_done_callback(lambda _: channel.put(None))
        try:
            yield from _until_the_end(channel)
        finally:
            closed.set()
        future.result()


def _until_the_end(channel: SimpleQueue[Event | None]) -> Iterator[Event]:
    while True:
        try:
            event = channel.get(timeout=HEARTBEAT_S)
        except Empty:
            event = Heartbeat()
        if event is None:
            return
        yield event
