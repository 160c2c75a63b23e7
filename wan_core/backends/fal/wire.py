"""fal's official client behind one guarded transport. Knows no job, store or event.

Each request is sent once; the key goes only to fal's two API hosts and is removed from answers; answers are bounded,
and end as a checked value or a `FalTrouble`.

Trap: fal_client 1.0.3 (`_maybe_retry_request`) sends a submission up to ten times, after httpx errors and its own error
for 408, 409, 429 and nginx's 502-504. The transport raises neither.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import fal_client
import httpx
from fal_client.client import QUEUE_URL_FORMAT, REST_URL, USER_AGENT, BackupDomainTransport
from pydantic import BaseModel, Field, NonNegativeInt, SecretStr

from wan_core.backends.fal.retry import FalTrouble, Timeouts

MAX_ANSWER_BYTES = 8_000_000
MAX_LINE_CHARS = 500
BUSY = frozenset({404, 408, 409, 425, 429})  # a later try may succeed
SOUND_KEY = re.compile(r"[!-~]{1,500}")  # printable ASCII: the HTTP client's errors would quote anything else
SOUND_ID = re.compile(r"[\w-]{1,100}", re.ASCII)
STRUCK_OUT = b"(key)"


@dataclass(frozen=True)
class Hosts:
    """`media`: of the clips, with subdomains."""

    queue: str = QUEUE_URL_FORMAT.rstrip("/")
    rest: str = REST_URL
    media: tuple[str, ...] = ("fal.media",)


class Unreached(FalTrouble):
    """Nothing was sent."""


class Unanswered(FalTrouble):
    """The request may have arrived."""


class Unreadable(FalTrouble):
    """The answer is malformed."""


class Refusal(FalTrouble):
    """Not 2xx. `detail`: fal's text or list of faults; `word`: its error type."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"fal answered {status}")
        self.status = status
        plain = _object(body)
        self.detail: object = plain.get("detail")
        self.word = str(plain.get("error_type") or headers.get("x-fal-error-type", ""))

    @property
    def may_pass(self) -> bool:
        """A list of faults is final, whatever the status."""
        if isinstance(self.detail, list):
            return False
        early = self.status == 400 and "in progress" in str(self.detail)
        return early or self.status in BUSY or self.status >= 500


class QueueStatus(BaseModel):
    finished: bool
    position: NonNegativeInt | None = None
    logs: list[Any] | None = None
    error: str | None = None
    error_type: str | None = None

    @property
    def lines(self) -> list[tuple[str, str]]:
        """(level, message) of each."""
        return [_line(entry) for entry in self.logs or ()]


class RemoteFile(BaseModel):
    url: str = Field(pattern=r"^https?://", max_length=4096)


class Output(BaseModel):
    """The seed may be missing, as in the endpoint's own example."""

    video: RemoteFile
    prompt: str = ""
    seed: int | None = None


class GuardedTransport(httpx.BaseTransport):
    def __init__(self, key: str, hosts: Hosts, timeouts: Timeouts) -> None:
        self._key = key.encode()
        self._hosts = hosts
        self._timeouts = timeouts
        self._network = BackupDomainTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = self._rewrite(request)
        try:
            with closing(self._network.handle_request(asked)) as response:
                body = self._body(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreached from error
        except httpx.RequestError as error:
            raise Unanswered from error
        if not response.is_success:
            raise Refusal(response.status_code, response.headers, body)
        return httpx.Response(response.status_code, content=body)

    def close(self) -> None:
        self._network.close()

    def _rewrite(self, request: httpx.Request) -> httpx.Request:
        """To `Hosts`; without the key elsewhere."""
        url = httpx.URL(self._rebase(str(request.url)))
        headers = request.headers.copy()
        headers["Host"] = url.netloc.decode("ascii")
        if not str(url).startswith((f"{self._hosts.queue}/", f"{self._hosts.rest}/")):
            headers.pop("Authorization", None)  # fal_client sends it to the store of uploads
        look = request.method != "POST" and str(url).startswith(f"{self._hosts.queue}/")
        retry = httpx.Timeout(self._timeouts.answer_s if look else self._timeouts.send_s)
        return httpx.Request(
            request.method, url, headers=headers, stream=request.stream, extensions={"timeout": retry.as_dict()}
        )

    def _rebase(self, url: str) -> str:
        for own, base in ((QUEUE_URL_FORMAT, f"{self._hosts.queue}/"), (f"{REST_URL}/", f"{self._hosts.rest}/")):
            if url.startswith(own):
                return base + url.removeprefix(own)
        return url

    def _body(self, response: httpx.Response) -> bytes:
        """Remove the key. Raises Unreadable past the bounds."""
        body, late = bytearray(), time.monotonic() + self._timeouts.send_s
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES or time.monotonic() > late:
                raise Unreadable
        return bytes(body).replace(self._key, STRUCK_OUT)


class FalClient(fal_client.SyncClient):
    """The key must match `SOUND_KEY`."""

    def __init__(self, key: SecretStr, hosts: Hosts, timeouts: Timeouts) -> None:
        super().__init__(key=key.get_secret_value(), default_timeout=timeouts.send_s)
        self.__dict__.update(hosts=hosts, timeouts=timeouts)  # the base class is frozen

    hosts: Hosts
    timeouts: Timeouts

    @cached_property
    def _client(self) -> httpx.Client:
        door = GuardedTransport(self._auth.token, self.hosts, self.timeouts)
        return httpx.Client(transport=door, headers={**self._auth.as_headers(), "User-Agent": USER_AGENT})

    def close(self) -> None:
        self._client.close()

    def submit_once(self, endpoint: str, arguments: dict[str, Any]) -> fal_client.SyncRequestHandle:
        """POST once.

        Raises:
            Unreached, Refusal: fal has not taken the job (open for a 5xx).
            Unanswered, Unreadable: fal may have taken it.
        """
        with _read():
            handle = self.submit(endpoint, arguments)
            if not SOUND_ID.fullmatch(handle.request_id):
                raise Unreadable
            return handle if self._is_ours(handle) else self.get_handle(endpoint, handle.request_id)

    def resume(self, remote: Mapping[str, str]) -> fal_client.SyncRequestHandle:
        """Inverse of `handle_to_dict`."""
        urls = {name: remote[name] for name in ("status_url", "response_url", "cancel_url")}
        return fal_client.SyncRequestHandle(remote["request_id"], client=self._client, **urls)

    def upload_picture(self, picture: bytes, content_type: str) -> str:
        with _read():
            return str(self.upload(picture, content_type, f"picture.{content_type[6:]}", repository="fal"))

    def _is_ours(self, handle: fal_client.SyncRequestHandle) -> bool:
        urls = (handle.status_url, handle.response_url, handle.cancel_url)
        return all(str(url).startswith(f"{self.hosts.queue}/") for url in urls)


def handle_to_dict(handle: fal_client.SyncRequestHandle) -> dict[str, str]:
    """Contains no key."""
    names = ("request_id", "status_url", "response_url", "cancel_url")
    return {name: str(getattr(handle, name)) for name in names}


def read_status(handle: fal_client.SyncRequestHandle) -> QueueStatus:
    """Raises FalTrouble."""
    with _read():
        status = handle.status(with_logs=True)
        return QueueStatus.model_validate(asdict(status) | {"finished": isinstance(status, fal_client.Completed)})


def read_output(handle: fal_client.SyncRequestHandle) -> Output:
    """Ask once (the handle's own `get` polls). Raises FalTrouble."""
    with _read():
        return Output.model_validate(handle.client.get(handle.response_url).json())


@contextmanager
def _read() -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise Unreadable from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _line(entry: object) -> tuple[str, str]:
    """Return (level, message); odd entries become empty."""
    plain = entry if isinstance(entry, dict) else {}
    return str(plain.get("level", "INFO")), one_line(plain.get("message", ""))


def one_line(text: object) -> str:
    """Make fal's text safe to show and log."""
    words = " ".join(str(text).split())
    return "".join(letter for letter in words if letter.isprintable())[:MAX_LINE_CHARS]
