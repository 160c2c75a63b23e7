"""How long the caller of a request wants its traces to be kept, as the headers of fal say it.

Source: https://docs.fal.ai (Platform Headers) and the headers that fal's clients send.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from wan_core.api.refusals import http_refusal
from wan_core.settings import Limits

LIFECYCLE = "x-fal-object-lifecycle-preference"
UPLOAD_LIFECYCLE = "x-fal-object-lifecycle"
SHORT = "The files of this request are kept for {hours:g} hours, which is the longest here."
PUBLIC = "Whoever knows the address of the clip can fetch it: this server has no access rules for files."
UNREADABLE = (
    'must be a JSON object like {"expiration_duration_seconds": 3600}, with a number of seconds above 0, or null.'
)


@dataclass(frozen=True)
class Retention:
    """`keep_s`: seconds from the end of the job, or `None` as long as anything. `private`: the request is not kept.

    `notes`: what of it is not done as asked.
    """

    keep_s: float | None = None
    private: bool = False
    notes: tuple[str, ...] = ()


def retention(headers: Mapping[str, str], limits: Limits) -> Retention:
    """Raises Refusal for what cannot be read: nobody's wish for privacy is guessed."""
    preference = _preference(headers, LIFECYCLE)
    keep_s, notes = _seconds(preference, LIFECYCLE), []
    if keep_s is not None and keep_s > limits.keep_results_s:
        notes.append(SHORT.format(hours=limits.keep_results_s / 3600))
        keep_s = None
    if _restricts(preference.get("initial_acl")):
        notes.append(PUBLIC)
    private = headers.get("x-fal-store-io", "").strip().lower() in ("0", "false")
    return Retention(keep_s, private, tuple(notes))


def upload_seconds(headers: Mapping[str, str]) -> float | None:
    """How long an upload is to be kept, if it says so. Raises Refusal."""
    name = UPLOAD_LIFECYCLE if UPLOAD_LIFECYCLE in headers else LIFECYCLE
    return _seconds(_preference(headers, name), name)


def _preference(headers: Mapping[str, str], name: str) -> Mapping[str, object]:
    text = headers.get(name)
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise http_refusal(400, f"{name} {UNREADABLE}")
    return value


def _seconds(preference: Mapping[str, object], name: str) -> float | None:
    seconds = preference.get("expiration_duration_seconds")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e10:
        raise http_refusal(400, f"{name} {UNREADABLE}")
    return float(seconds)


def _restricts(acl: object) -> bool:
    """Whether somebody is to be kept from the file."""
    if not isinstance(acl, dict):
        return False
    rules = acl.get("rules")
    decisions = [rule.get("decision") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    return any(decision not in (None, "allow") for decision in [acl.get("default"), *decisions])
