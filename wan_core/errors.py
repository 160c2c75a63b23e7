"""Errors with a sentence for the visitor: field, value, limit, what to do. No HTTP here.

`type` is fal's (https://docs.fal.ai/errors), or pydantic's where fal passes it through (`missing`, …).
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

UNEXPECTED = "Something went wrong on this server. Please try again."
JOB_FAILED = "Something went wrong on this server. The job's id is in its log; please try again."
ENGINE_FAILED = "The engine failed unexpectedly. The job's id is in the server's log; please try again."
FRAMES_GONE = "The frames of this clip are not kept here; generate it again."
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_LOCKED = (errno.EROFS, errno.EACCES, errno.EPERM)
DISK_RETRY_S = 600


class WanError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InputError(WanError):
    """`context`: the limits fal sends (`{"le": 161}`). `others`: further faults of the request."""

    others: "tuple[InputError, ...]" = ()

    def __init__(self, field: str, type: str, message: str, context: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.type = type
        self.context = dict(context or {})

    def at(self, field: str) -> "InputError":
        return self if self.field == field else InputError(field, self.type, self.message, self.context)


class BackendError(WanError):
    """Types of ours: `out_of_memory`, `quota_exceeded`, `worker_lost`, `engine_unavailable`, `storage_full`,
    `too_many_jobs`.
    """

    def __init__(self, type: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.type = type
        self.retry_after_s = retry_after_s


class Cancelled(WanError):
    def __init__(self, message: str = "The job was cancelled.") -> None:
        super().__init__(message)


def storage_error(error: BaseException, what: str = "A file could not be written") -> BackendError | None:
    """`storage_full` if the disk takes no more, else `None`."""
    number = error.errno if isinstance(error, OSError) else None
    if number in DISK_FULL:
        return _storage_full(f"{what}: the disk is full.")
    return _storage_full(f"{what}: its folder is read-only.") if number in DISK_LOCKED else None


@contextmanager
def writing_to_disk(what: str) -> Iterator[None]:
    """An OSError becomes BackendError `storage_full`; `what` begins its sentence."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, what) or _storage_full(f"{what}.") from error


def _storage_full(sentence: str) -> BackendError:
    return BackendError("storage_full", sentence, retry_after_s=DISK_RETRY_S)


def to_plain(error: WanError) -> dict[str, Any]:
    """For another process; without `others`."""
    plain: dict[str, Any] = {"kind": type(error).__name__, "message": error.message}
    match error:
        case InputError():
            plain |= {"field": error.field, "type": error.type, "context": error.context}
        case BackendError():
            plain |= {"type": error.type, "retry_after_s": error.retry_after_s}
    return plain


def from_plain(plain: Mapping[str, Any]) -> InputError | BackendError | Cancelled:
    match plain["kind"]:
        case "InputError":
            return InputError(plain["field"], plain["type"], plain["message"], plain["context"])
        case "BackendError":
            return BackendError(plain["type"], plain["message"], retry_after_s=plain["retry_after_s"])
    return Cancelled(plain["message"])
