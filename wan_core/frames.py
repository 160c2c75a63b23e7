"""Raw frames on disk: uint8 (T, H, W, 3) RGB .npy, whole or absent.

No memory map for writing: on a full disk it kills the process where a write raises.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from wan_core.errors import BackendError, writing_to_disk
from wan_core.files import atomic_write

Frame = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

Frames = NDArray[np.uint8]
"""(T, H, W, 3) uint8 RGB."""


def read(path: Path) -> Iterator[Frame]:
    yield from cast(Iterator[Frame], iter(np.load(path, mmap_mode="r")))


def write(target: Path, pieces: Iterable[Frames], count: int) -> None:
    """The first `count`; consumes all of `pieces`.

    Raises:
        BackendError: `storage_full`, or `internal_server_error` for too few frames.
    """
    with writing_to_disk("The frames could not be stored"), atomic_write(target) as part:
        with part.open("wb") as file:
            written = _write(file, pieces, count)
        if written != count:
            raise BackendError("internal_server_error", f"Only {written} of {count} frames were made.")


def thin_out(pieces: Iterable[Frames], total: int, count: int) -> Iterator[Frames]:
    """Evenly spread, with the first and the last."""
    kept = {round(place * (total - 1) / (count - 1)) for place in range(count)}
    seen = 0
    for piece in pieces:
        yield piece[[place in kept for place in range(seen, seen + len(piece))]]
        seen += len(piece)


def _write(file: IO[bytes], pieces: Iterable[Frames], count: int) -> int:
    written = 0
    for piece in pieces:
        kept = piece[: count - written]
        if written == 0:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, *kept.shape[1:])}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(kept.tobytes())
        written += len(kept)
    file.flush()
    os.fsync(file.fileno())
    return written
