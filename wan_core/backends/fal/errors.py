"""fal's errors → ours. Quotes fal only where it says what is wrong with a field."""

import re
from typing import Literal

from pydantic import BaseModel, ValidationError

from wan_core.backends.fal.retry import FalTrouble
from wan_core.backends.fal.wire import QueueStatus, Refusal, Unreached, Unreadable, one_line
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError, InputError

Moment = Literal["sending", "following"]
"""Before and after fal confirmed the job."""

WORD = re.compile(r"[a-z][a-z_]{2,60}")
RETRY_AFTER_S = 60
OPEN = "It may have taken the job and charge for it, so it was not sent again. Look at the key's requests on fal.ai."
NOTHING = "Nothing was charged."

ODD_KEY = "The fal key holds a blank or a character that no key has. Copy it again from fal.ai."
NO_KEY = "There is no fal key for this job. Give your own, or ask this app's owner to set FAL_KEY."
KEY_GONE = "The fal key was lent for one run and is gone since this app started again, so the clip cannot be fetched."
INTERRUPTED = "This app stopped while it sent the job to fal."
TOO_LATE = "fal did not finish the job within {minutes:.0f} minutes and was asked to stop."
ABOUT = {
    401: "fal does not accept the key. Check it at fal.ai/dashboard/keys.",
    403: "fal does not let this key run the model: its balance may be used up, or its rights too small. "
    "Look at fal.ai/dashboard/billing.",
}
UNKNOWN: dict[Moment, str] = {
    "sending": "fal does not offer the model under its old address any more.",
    "following": "fal does not know this job any more; it keeps results for an hour.",
}
REFUSED: dict[Moment, str] = {
    "sending": "fal refused the request ({status}).",
    "following": "fal does not hand out the result ({status}).",
}


class Fault(BaseModel):
    loc: list[str | int] = []
    msg: str = ""
    type: str = ""
    ctx: dict[str, object] = {}


def explain(trouble: FalTrouble, moment: Moment) -> InputError | BackendError:
    if isinstance(trouble, Refusal):
        return _explain_refusal(trouble, moment)
    if isinstance(trouble, Unreached):
        tail = NOTHING if moment == "sending" else ""
        return _unavailable(f"fal could not be reached from this server. {tail}")
    if isinstance(trouble, Unreadable):
        return BackendError("downstream_service_error", _open("fal's answer could not be read.", moment))
    return _unavailable(_open("The line to fal broke before its answer was here.", moment))


def may_have_accepted(trouble: FalTrouble) -> bool:
    """Whether fal may have the job although its submission failed."""
    refused = isinstance(trouble, Refusal) and 300 <= trouble.status < 500
    return not (refused or isinstance(trouble, Unreached))


def explain_failure(read_status: QueueStatus, trouble: FalTrouble | None = None) -> InputError | BackendError:
    """`trouble`: fal's answer in place of the result."""
    faults = _faults(trouble) if isinstance(trouble, Refusal) else []
    if faults and isinstance(trouble, Refusal) and trouble.status < 500:
        return faults[0]
    if read_status.error_type == "client_cancelled":
        return BackendError("client_cancelled", "The job was cancelled on fal's side.")
    word = faults[0].type if faults else read_status.error_type
    return BackendError(_word(word, "downstream_service_error"), "The job failed on fal.")


def _explain_refusal(refusal: Refusal, moment: Moment) -> InputError | BackendError:
    status = refusal.status
    if status in ABOUT:
        return BackendError("downstream_service_error", ABOUT[status])
    if status == 404:
        return BackendError("downstream_service_error", UNKNOWN[moment])
    if status == 429:
        sentence = "fal takes no more requests from this account for now. Try again in a minute."
        return BackendError("concurrent_requests_limit", sentence, retry_after_s=RETRY_AFTER_S)
    faults = _faults(refusal)
    if faults and status < 500:
        return faults[0]
    if status >= 500:
        return _explain_server_error(refusal, moment)
    return BackendError(_word(refusal.word, "bad_request"), REFUSED[moment].format(status=status))


def _explain_server_error(refusal: Refusal, moment: Moment) -> BackendError:
    word = "downstream_service_unavailable" if refusal.status in (502, 503, 504) else "downstream_service_error"
    faults = _faults(refusal)
    sentence = _open(f"fal has a fault of its own ({refusal.status}).", moment)
    return BackendError(_word(faults[0].type if faults else refusal.word, word), sentence)


def _faults(refusal: Refusal) -> list[InputError]:
    """One error per fault; the first carries the others."""
    entries = refusal.detail if isinstance(refusal.detail, list) else []
    errors = [_input_error(fault) for fault in map(_fault, entries[:20]) if fault]
    if errors:
        errors[0].others = tuple(errors[1:])
    return errors


def _fault(entry: object) -> Fault | None:
    try:
        return Fault.model_validate(entry)
    except ValidationError:
        return None


def _input_error(fault: Fault) -> InputError:
    field = next((str(part) for part in fault.loc if part in IMAGE_TO_VIDEO.fields), "body")
    sentence = one_line(fault.msg).rstrip(".") or "it cannot be used"
    limits = {name: limit for name, limit in fault.ctx.items() if isinstance(limit, int | float | str)}
    subject = field if field != "body" else "the request"
    return InputError(field, _word(fault.type, "value_error"), f"fal refused {subject}: {sentence}.", limits)


def _open(sentence: str, moment: Moment) -> str:
    return f"{sentence} {OPEN}" if moment == "sending" else sentence


def _unavailable(sentence: str) -> BackendError:
    return BackendError("downstream_service_unavailable", sentence.strip())


def _word(given: str | None, instead: str) -> str:
    """fal's, if it looks like an error type."""
    return given if given and WORD.fullmatch(given) else instead
