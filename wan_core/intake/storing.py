"""Store untrusted bytes on disk. A full disk is the server's error, not the visitor's."""

from tempfile import TemporaryFile
from typing import IO

from wan_core.errors import BackendError


def no_room() -> BackendError:
    return BackendError("storage_full", "This server has no room to store the file. Try again later.")


def store(content: bytes, into: IO[bytes]) -> None:
    """All of `content`, even to an unbuffered file. Raises BackendError `storage_full`."""
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[into.write(rest) :]
    except OSError as error:
        raise no_room() from error


def unnamed_file(buffering: int = 0) -> IO[bytes]:
    """Unbuffered: closing after a full disk cannot fail again. Raises BackendError `storage_full`."""
    try:
        return TemporaryFile(buffering=buffering)
    except OSError as error:
        raise no_room() from error


def stored(content: bytes) -> IO[bytes]:
    """The caller closes it. Raises BackendError `storage_full`."""
    file = unnamed_file()
    try:
        store(content, file)
    except BackendError:
        file.close()
        raise
    return file
