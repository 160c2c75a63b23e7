"""Several backends as one; each runs one job at a time."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wan_core.backends import Backend
from wan_core.events import Event, Job


class SeveralBackends:
    """For as many slots as backends. The one that ended last is taken first: its model is loaded."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = tuple(backends)
        self._idle = list(reversed(self._backends))
        self._changed = threading.Condition()

    def start(self) -> None:
        for backend in self._backends:
            backend.start()

    def run(self, job: Job) -> Iterator[Event]:
        with self._one() as backend:
            yield from backend.run(job)

    def cancel(self, job_id: str) -> None:
        for backend in self._backends:  # those that do not run it ignore it
            backend.cancel(job_id)

    def check(self, picture: str, prompt: str) -> None:
        self._least_busy().check(picture, prompt)

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        return self._least_busy().expand(picture, prompt)

    def close(self) -> None:
        for backend in self._backends:
            backend.close()

    @contextmanager
    def _one(self) -> Iterator[Backend]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._idle))
            backend = self._idle.pop()
        try:
            yield backend
        finally:
            with self._changed:
                self._idle.append(backend)
                self._changed.notify()

    def _least_busy(self) -> Backend:
        """Questions beside a job are answered, but slower."""
        with self._changed:
            return self._idle[-1] if self._idle else self._backends[0]
