"""Everything that can go wrong, in three words: the input, the machine, or a changed mind.

Every message is a finished sentence for the visitor: field, value, limit, what to do.
`type` is fal's machine-readable word (https://docs.fal.ai/errors); pydantic's own words are used where fal passes
them through (`greater_than_equal`, `missing`, …). This file knows no HTTP status and no page.

    WanError
    ├── InputError      the visitor can mend it: one field, one sentence
    ├── BackendError    the machine, the network or a paid service could not do it
    └── Cancelled       somebody asked to stop
"""

from collections.abc import Mapping
from typing import Any

UNEXPECTED = "Something went wrong on this server. Please try again."
JOB_FAILED = "Something went wrong on this server. The job's id is in its log; please try again."
ENGINE_FAILED = "The engine failed unexpectedly. The job's id is in the server's log; please try again."


class WanError(Exception):
    """Base of all errors whose `message` may be shown to a visitor as it is."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InputError(WanError):
    """A value of `field` cannot be used.

    `context` holds the limits fal sends along (`{"le": 121}`); `others` the further faults of the same request.
    """

    others: "tuple[InputError, ...]" = ()

    def __init__(self, field: str, type: str, message: str, context: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.type = type
        self.context = dict(context or {})


class BackendError(WanError):
    """The request was fine but could not be carried out; `type` says why in fal's words or ours.

    Ours: `out_of_memory`, `quota_exceeded`, `worker_lost`, `engine_unavailable`, `storage_full`, `too_many_jobs`.
    """

    def __init__(self, type: str, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.type = type
        self.retry_after_s = retry_after_s


class Cancelled(WanError):
    """The job was stopped on request."""

    def __init__(self, message: str = "The job was cancelled.") -> None:
        super().__init__(message)


def to_plain(error: WanError) -> dict[str, Any]:
    """An error as plain values that cross a process border; `from_plain` makes it an error again."""
    plain: dict[str, Any] = {"kind": type(error).__name__, "message": error.message}
    match error:
        case InputError():
            plain |= {"field": error.field, "type": error.type, "context": error.context}
        case BackendError():
            plain |= {"type": error.type, "retry_after_s": error.retry_after_s}
    return plain


def from_plain(plain: Mapping[str, Any]) -> InputError | BackendError | Cancelled:
    """The error that `to_plain` took apart."""
    match plain["kind"]:
        case "InputError":
            return InputError(plain["field"], plain["type"], plain["message"], plain["context"])
        case "BackendError":
            return BackendError(plain["type"], plain["message"], retry_after_s=plain["retry_after_s"])
    return Cancelled(plain["message"])
