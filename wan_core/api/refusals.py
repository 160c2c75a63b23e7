"""Our errors in fal's two body shapes, with fal's words and HTTP statuses. The only file that knows them.

A fault of a value or of the model is `{"detail": [{loc, msg, type, url, ctx}]}`; anything around it (keys, queue,
deadlines) is `{"detail": "…", "error_type": "…"}`. `message` repeats the sentence, because fal's JavaScript client
shows only that. No answer ever repeats what was sent. Source: https://docs.fal.ai/errors
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from starlette.responses import JSONResponse

from wan_core.errors import UNEXPECTED, BackendError, InputError, WanError
from wan_core.events import Failed, Outcome, Stopped

DOCS = "https://docs.fal.ai/errors/#"
REQUEST_TIMEOUT = "request_timeout"
CANCELLED = "client_cancelled"
NO_SUCH_REQUEST = "not_found"

Shape = Literal["model", "around"]


@dataclass(frozen=True)
class ErrorType:
    """A word of fal's, its HTTP status and the shape of its body."""

    type: str
    status: int
    shape: Shape = "model"


SERVER_ERROR = ErrorType("internal_server_error", 500)
ERROR_TYPES = {
    word.type: word
    for word in (
        SERVER_ERROR,
        ErrorType("generation_timeout", 504),
        ErrorType("downstream_service_error", 400),
        ErrorType("downstream_service_unavailable", 500),
        ErrorType(REQUEST_TIMEOUT, 504, "around"),
        ErrorType("startup_timeout", 504, "around"),
        ErrorType(CANCELLED, 499, "around"),
        ErrorType("client_disconnected", 499, "around"),
        ErrorType("runner_scheduling_failure", 503, "around"),
        ErrorType("runner_connection_timeout", 503, "around"),
        ErrorType("runner_connection_refused", 503, "around"),
        ErrorType("runner_connection_error", 503, "around"),
        ErrorType("runner_disconnected", 503, "around"),
        ErrorType("runner_incomplete_response", 502, "around"),
        ErrorType("runner_server_error", 500, "around"),
        ErrorType("internal_error", 500, "around"),
        ErrorType("concurrent_requests_limit", 429, "around"),
        ErrorType("bad_request", 400, "around"),
    )
}
MENDABLE = (
    "content_policy_violation",
    "no_media_generated",
    "image_too_small",
    "image_too_large",
    "image_load_error",
    "file_download_error",
    "file_too_large",
    "feature_not_supported",
    "unsupported_image_format",
)
ERROR_TYPES |= {type: ErrorType(type, 422) for type in MENDABLE}
ERROR_TYPES |= {  # ours
    "quota_exceeded": ERROR_TYPES["downstream_service_error"],
    "frames_not_kept": ERROR_TYPES["feature_not_supported"],
    "too_many_jobs": ERROR_TYPES["concurrent_requests_limit"],
    "worker_lost": ERROR_TYPES["runner_disconnected"],
    "engine_unavailable": ERROR_TYPES["runner_scheduling_failure"],
    "storage_full": ERROR_TYPES["runner_scheduling_failure"],
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. `loc` says where: `("body", "prompt")`."""

    word: ErrorType
    message: str
    loc: tuple[str, ...] = ("body",)
    context: Mapping[str, object] = field(default_factory=dict)

    @property
    def detail(self) -> dict[str, Any]:
        plain = {"loc": list(self.loc), "msg": self.message, "type": self.word.type, "url": DOCS + self.word.type}
        return plain | ({"ctx": dict(self.context)} if self.context else {})


class Refusal(Exception):
    """A request that ends here, because of how it was sent or what it asks for."""

    def __init__(self, fault: Fault, **headers: str) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def http_refusal(status: int, message: str, type: str = "bad_request", **headers: str) -> Refusal:
    """A refusal that is about no field."""
    return Refusal(Fault(ErrorType(type, status, "around"), message), **headers)


def no_such_request() -> Refusal:
    """An id that is not known, or not any more."""
    return http_refusal(404, "No such request. Results are kept for a day.", NO_SUCH_REQUEST)


def unsupported(message: str, *loc: str) -> Refusal:
    """A feature of fal's that is not here; `loc` says where it was asked for."""
    return Refusal(Fault(ERROR_TYPES["feature_not_supported"], message, loc))


def too_large(max_bytes: int) -> Refusal:
    """A body of more than `max_bytes`."""
    sentence = f"The body is larger than {max_bytes / 1_000_000:g} MB, which is the most this address takes."
    return Refusal(Fault(ErrorType("file_too_large", 413), sentence, context={"max_size": max_bytes}))


def refusal_response(refusal: Refusal) -> JSONResponse:
    return _response([refusal.fault], **refusal.headers)


def error_response(error: WanError) -> JSONResponse:
    """What is answered where a request was not accepted."""
    if isinstance(error, InputError):
        return _response([_input_fault(fault) for fault in (error, *error.others)])
    if isinstance(error, BackendError):
        after = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else {}
        return _response([Fault(_error_type(error.type), error.message)], **after)
    return unexpected_response()


def outcome_fault(outcome: Outcome) -> Fault | None:
    """Why an accepted job ended without a clip; `None` if it has one."""
    if isinstance(outcome, Failed):
        if outcome.field is not None:
            return _input_fault(InputError(outcome.field, outcome.type, outcome.message))
        return Fault(_without_retry(_error_type(outcome.type)), outcome.message)
    return Fault(ERROR_TYPES[CANCELLED], "The request was cancelled.") if isinstance(outcome, Stopped) else None


def fault_response(fault: Fault) -> JSONResponse:
    """What the result of a job without a clip is."""
    user = {"x-fal-request-timeout-type": "user"} if fault.word.type == REQUEST_TIMEOUT else {}
    return _response([fault], **user)


def unexpected_response() -> JSONResponse:
    return _response([Fault(SERVER_ERROR, UNEXPECTED)])


def _error_type(type: str) -> ErrorType:
    return ERROR_TYPES.get(type, SERVER_ERROR)


def _without_retry(word: ErrorType) -> ErrorType:
    """429 makes clients ask again for a result that will not change."""
    return replace(word, status=500) if word.status == 429 else word


def _input_fault(error: InputError) -> Fault:
    loc = ("body",) if error.field == "body" else ("body", error.field)
    return Fault(ErrorType(error.type, 422), error.message, loc, error.context)


def _response(faults: list[Fault], **headers: str) -> JSONResponse:
    word, message = faults[0].word, faults[0].message
    again = word.status in (429, 500, 503)
    headers |= {"x-fal-retryable": str(again).lower(), "x-fal-needs-retry": str(int(again))}
    if word.shape == "model":
        body: dict[str, Any] = {"detail": [fault.detail for fault in faults], "message": message}
    else:
        body = {"detail": message, "error_type": word.type, "message": message}
        headers["x-fal-error-type"] = word.type
    if word.type == NO_SUCH_REQUEST:
        body["status"] = "NOT_FOUND"
    return JSONResponse(body, word.status, headers)
