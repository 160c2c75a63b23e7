"""Work in a thread, its events as a generator.

diffusers runs a clip as one long call, but a ZeroGPU function must yield at every step or it cannot be cancelled. Here
the call runs in a thread and hands its events over. Knows nothing of what the work is. Guarantees: the thread has ended
when the generator has, whatever ended it.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

from wan_core.errors import Cancelled
from wan_core.events import Event, Heartbeat

Emit = Callable[[Event], None]
HEARTBEAT_S = 1.0  # a closed generator is noticed at the next yield, so silence must not last


def run_in_thread(work: Callable[[Emit], None], cancelled: Callable[[], bool]) -> Iterator[Event]:
    """Runs `work(emit)` in a thread and yields what it emits, and `Beat` while it is silent.

    `emit` raises `Cancelled` in the thread once `cancelled()` is true or this generator is closed: work that emits at
    each step stops within one step. Raises what `work` raises.
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
