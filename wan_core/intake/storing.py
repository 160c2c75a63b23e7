"""A stranger's bytes on our disk. A full disk is this server's fault, never the visitor's."""

from tempfile import TemporaryFile
from typing import IO

from wan_core.errors import BackendError


def no_room() -> BackendError:
    """The disk did not take the file."""
    return BackendError("storage_full", "This server has no room to store the file. Try again later.")


def store(content: bytes, into: IO[bytes]) -> None:
    """Write all of `content`, also to an unbuffered file. Raises BackendError `storage_full`."""
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[into.write(rest) :]
    except OSError as error:
        raise no_room() from error


def unnamed_file() -> IO[bytes]:
    """A new file without a name; unbuffered, so that closing it after a full disk cannot fail a second time."""
    return TemporaryFile(buffering=0)


def stored(content: bytes) -> IO[bytes]:
    """`content` in a file without a name, which the caller closes. Raises BackendError `storage_full`."""
    file = unnamed_file()
    try:
        store(content, file)
    except BackendError:
        file.close()
        raise
    return file
