"""What the pictures that visitors send may take of the disk: in all, and of one visitor.

The folders of the HTTP API and of the page share one room. A day old, a file goes; earlier the oldest ones go when
others need the room. Young ones stay: they may be about to be used.
"""

import asyncio
import os
import shutil
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from wan_core.errors import BackendError
from wan_core.files import expiry_of
from wan_core.settings import Limits

SHARE = 10  # uploads may take a tenth of what is kept in all, and one visitor a tenth of that
YOUNG_S = 10 * 60  # an upload may be about to be used: it is not thrown away for another


class UploadRoom:
    """Listing the folders costs time, so the total is kept while files come in, and counted again when it is reached.

    `now`: Unix seconds. `per_client`: a visitor has a share of their own.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        limits: Limits,
        now: Callable[[], float] = time.time,
        *,
        per_client: bool = False,
    ) -> None:
        self._folders = folders
        self._limits = limits
        self._now = now
        self._per_client = per_client
        self._used: int | None = None
        self._coming = 0
        self._received: dict[str, deque[tuple[float, int]]] = {}

    @asynccontextmanager
    async def hold(self, size: int, client: str = "") -> AsyncIterator[None]:
        """Hold room for a file of `size` bytes that comes in within the block. Raises BackendError without room."""
        self._refuse_if_spent(client, size)
        self._coming += size
        try:
            if self._lacks_room():
                await asyncio.to_thread(self.tidy)
                if self._lacks_room():
                    raise full()
            yield
            self._used = (self._used or 0) + size
            self._received.setdefault(client, deque()).append((self._now(), size))
        finally:
            self._coming -= size

    def tidy(self) -> None:
        """Remove what is too old, then the oldest until the rest fits; young files stay."""
        files = sorted(self._files(), reverse=True)
        used = sum(size for _, size, _ in files)
        for age, size, path in files:
            excess = used + self._coming - self._room
            if age > self._limits.keep_results_s or (excess > 0 and age > YOUNG_S):
                _remove(path, self._folders)
                used -= size
        self._used = used
        for client in list(self._received):
            self._forget_old(client)

    def drop_expired(self) -> None:
        """Remove what its sender wanted gone by now. Cheap: no file is looked at."""
        for folder in self._folders:
            for path in folder.iterdir() if folder.is_dir() else ():
                until = expiry_of(path.name)
                if until is not None and until <= self._now():
                    with suppress(OSError):  # the others still go
                        path.unlink(missing_ok=True)

    @property
    def _room(self) -> int:
        return self._limits.keep_bytes // SHARE

    def _lacks_room(self) -> bool:
        if self._used is None or self._used + self._coming > self._room:
            return True
        free = [shutil.disk_usage(folder).free for folder in self._folders if folder.is_dir()]
        return min(free, default=0) - self._coming < self._limits.free_disk_bytes

    def _refuse_if_spent(self, client: str, size: int) -> None:
        if not self._per_client:
            return
        self._forget_old(client)
        most = self._room // SHARE
        if sum(size for _, size in self._received.get(client, ())) + size > most:
            raise BackendError(
                "storage_full",
                f"One visitor may send {most / 1_000_000:g} MB of pictures within ten minutes. Try again later.",
                retry_after_s=YOUNG_S,
            )

    def _forget_old(self, client: str) -> None:
        received = self._received.get(client, deque())
        while received and received[0][0] < self._now() - YOUNG_S:
            received.popleft()
        if not received:
            self._received.pop(client, None)

    def _files(self) -> list[tuple[float, int, Path]]:
        """Age in seconds, bytes and path of every file, those still being written included."""
        files = []
        for folder in self._folders:
            for place, _, names in os.walk(folder):
                for name in names:
                    path = Path(place, name)
                    with suppress(FileNotFoundError):  # another upload has got its name meanwhile
                        status = path.lstat()
                        files.append((self._now() - status.st_mtime, status.st_size, path))
        return files


def full() -> BackendError:
    return BackendError("storage_full", "This server has no room for more files. Try again later.", retry_after_s=600)


def _remove(path: Path, folders: Sequence[Path]) -> None:
    path.unlink(missing_ok=True)
    if path.parent not in folders:
        with suppress(OSError):  # others are in it
            path.parent.rmdir()
