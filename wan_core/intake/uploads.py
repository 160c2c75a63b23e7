"""Open uploads and results. Regular files only, never blocking: no link, pipe, socket or device."""

import os
import stat
from pathlib import Path
from typing import IO

from wan_core.intake.refusals import Refused, too_large

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def uploaded(path: Path, folder: Path) -> Path:
    """Raises Refused unless `path` is a regular file under `folder`, not a link."""
    try:
        found = path.resolve(strict=True)
        inside = found.is_relative_to(folder.resolve(strict=True))
        regular = stat.S_ISREG(path.lstat().st_mode)
    except (OSError, RuntimeError, ValueError) as error:
        raise _gone() from error
    if not inside or not regular:
        raise _gone()
    return found


def open_regular(path: Path, max_bytes: int) -> IO[bytes]:
    """At most `max_bytes`. Raises Refused."""
    try:
        _check_regular(path.lstat(), max_bytes)
        file = os.fdopen(os.open(path, _OPEN), "rb")
    except (OSError, ValueError) as error:
        raise _gone() from error
    try:
        _check_regular(os.fstat(file.fileno()), max_bytes)
    except Refused:
        file.close()
        raise
    return file


def _check_regular(status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _gone()
    if status.st_size > max_bytes:
        raise too_large(max_bytes)


def _gone() -> Refused:
    """One sentence for all: do not reveal which paths exist."""
    return Refused("file_download_error", "This file is not among the uploads. Upload it again.")
