"""Who may use the HTTP API, and who is asking: the keys of `WAN_API_KEYS`, or everybody where that is meant.

Without keys the API is open only to callers of this very machine. Keys are compared in constant time; what a caller
sent as a key is neither logged nor kept.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from starlette.requests import HTTPConnection

from wan_core.api.addressing import is_local
from wan_core.api.refusals import http_refusal
from wan_core.jobs.limits import Client, client_of
from wan_core.settings import Settings

CLOSED = (
    "The HTTP API of this server is closed. Its owner can open it: WAN_API_KEYS is a list of keys, "
    "or the word `open` for everybody."
)
WRONG = "The API key is missing or wrong. Send `Authorization: Key …` with one of the server's WAN_API_KEYS."


class Keys:
    """The door of the HTTP API."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._submit_response = tuple(key.encode() for key in settings.accepted_api_keys)
        self._open = settings.api_is_open
        self._only_local = self._open and not settings.api_keys.get_secret_value()

    def check(self, request: HTTPConnection) -> str | None:
        """The accepted key that `request` came with; `None` where none is needed.

        Raises:
            Refusal: 401.
        """
        given = key_in_request(request)
        if given and self._accepts(given):
            return given
        if self._open and (not self._only_local or is_local(request.headers)):
            return None
        raise http_refusal(401, WRONG if self._submit_response else CLOSED, "unauthorized", www_authenticate="Key")

    def client(self, request: HTTPConnection) -> Client:
        """Whose limits `request` counts against: its accepted key's, else its address's. Raises Refusal."""
        key = self.check(request)
        if key is not None:
            return Client.by_key(key)
        return client_of(request.headers, request.client.host if request.client else None, self._settings)

    def _accepts(self, given: str) -> bool:
        matches = [hmac.compare_digest(given.encode(), key) for key in self._submit_response]
        return any(matches)


def key_in_request(request: HTTPConnection) -> str:
    """What stands after `Key` or `Bearer`; empty without either."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() in ("key", "bearer") else ""


class Passes:
    """Permissions for one purpose and a short time, signed by this process so that nothing has to be remembered."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._secret = secrets.token_bytes(32)
        self._now = now

    def issue(self, purpose: str, lifetime_s: int) -> str:
        until = int(self._now()) + lifetime_s
        return f"{until}.{self._signature(purpose, until)}"

    def allows(self, purpose: str, given: str) -> bool:
        """Whether `given` was issued here for `purpose` and still holds."""
        until, _, signature = given.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) <= 12) or int(until) < self._now():
            return False
        return hmac.compare_digest(signature.encode(), self._signature(purpose, int(until)).encode())

    def _signature(self, purpose: str, until: int) -> str:
        return hmac.new(self._secret, f"{until} {purpose}".encode(), hashlib.sha256).hexdigest()
