"""The line to fal: its official client behind one guarded door to the network. Knows no job, no store and no event.

Guarantees: each question is asked once (`fal_client` by itself would send a submission up to ten times); the key goes
to fal's two API hosts alone and is struck out of every answer; an answer is read within bounds; whatever fal sends
ends as a checked value or as a `Trouble`. Who asks decides whether to ask again.

Source: fal_client 1.0.3, `_maybe_retry_request` asks again after httpx's errors and its own error for 408, 409, 429
and nginx's 502-504. The door raises neither.
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
BUSY = frozenset({404, 408, 409, 425, 429})  # of a job that fal has taken: it may still answer
SOUND_KEY = re.compile(r"[!-~]{1,500}")  # printable ASCII: anything else would be quoted by an error of the HTTP client
SOUND_ID = re.compile(r"[\w-]{1,100}", re.ASCII)
STRUCK_OUT = b"(key)"


@dataclass(frozen=True)
class Hosts:
    """Where fal is. `media` names the hosts of its clips, with their subdomains; a twin has other addresses."""

    queue: str = QUEUE_URL_FORMAT.rstrip("/")
    rest: str = REST_URL
    media: tuple[str, ...] = ("fal.media",)


class Unreached(FalTrouble):
    """Nothing was sent: there was no connection."""


class Unanswered(FalTrouble):
    """The question may have arrived, its answer did not, or not whole."""


class Unreadable(FalTrouble):
    """The answer is not what fal's documentation says."""


class Refusal(FalTrouble):
    """An answer other than 2xx. `detail` is fal's: a text, or a list of faults; `word` the type of its error."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"fal answered {status}")
        self.status = status
        plain = _object(body)
        self.detail: object = plain.get("detail")
        self.word = str(plain.get("error_type") or headers.get("x-fal-error-type", ""))

    @property
    def may_pass(self) -> bool:
        """A list of faults is the model's last word, whatever the status."""
        if isinstance(self.detail, list):
            return False
        early = self.status == 400 and "in progress" in str(self.detail)
        return early or self.status in BUSY or self.status >= 500


class QueueStatus(BaseModel):
    """How a job stands. `lines` are all lines of its log so far, cleaned."""

    finished: bool
    position: NonNegativeInt | None = None
    logs: list[Any] | None = None
    error: str | None = None
    error_type: str | None = None

    @property
    def lines(self) -> list[tuple[str, str]]:
        """(level, message) of each entry."""
        return [_line(entry) for entry in self.logs or ()]


class RemoteFile(BaseModel):
    url: str = Field(pattern=r"^https?://", max_length=4096)


class Output(BaseModel):
    """What fal answers in the end. It leaves out the seed at times (the endpoint's own example does)."""

    video: RemoteFile
    prompt: str = ""
    seed: int | None = None


class GuardedTransport(httpx.BaseTransport):
    """httpx's way to the network, with fal's own switch to its backup hosts inside."""

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
        """The same request to `Hosts`, without the key if it leaves them, and with our own patience."""
        url = httpx.URL(self._rebase(str(request.url)))
        headers = request.headers.copy()
        headers["Host"] = url.netloc.decode("ascii")
        if not str(url).startswith((f"{self._hosts.queue}/", f"{self._hosts.rest}/")):
            headers.pop("Authorization", None)  # fal_client sends it along to the store of uploads
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
        """The whole body without the key; bounded in bytes and in time."""
        body, late = bytearray(), time.monotonic() + self._timeouts.send_s
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES or time.monotonic() > late:
                raise Unreadable
        return bytes(body).replace(self._key, STRUCK_OUT)


class FalClient(fal_client.SyncClient):
    """fal's own client with our `Door`. The key must be sound (`SOUND_KEY`)."""

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
        """Submit a request: one POST.

        Raises:
            Unreached, Refusal: fal has not taken the job (a 5xx leaves that open).
            Unanswered, Unreadable: fal may have taken it.
        """
        with _read():
            handle = self.submit(endpoint, arguments)
            if not SOUND_ID.fullmatch(handle.request_id):
                raise Unreadable
            return handle if self._is_ours(handle) else self.get_handle(endpoint, handle.request_id)

    def resume(self, remote: Mapping[str, str]) -> fal_client.SyncRequestHandle:
        """The handle of a job from what `kept` made of it."""
        urls = {name: remote[name] for name in ("status_url", "response_url", "cancel_url")}
        return fal_client.SyncRequestHandle(remote["request_id"], client=self._client, **urls)

    def upload_picture(self, picture: bytes, content_type: str) -> str:
        """The address of `picture` in fal's store."""
        with _read():
            return str(self.upload(picture, content_type, f"picture.{content_type[6:]}", repository="fal"))

    def _is_ours(self, handle: fal_client.SyncRequestHandle) -> bool:
        urls = (handle.status_url, handle.response_url, handle.cancel_url)
        return all(str(url).startswith(f"{self.hosts.queue}/") for url in urls)


def handle_to_dict(handle: fal_client.SyncRequestHandle) -> dict[str, str]:
    """What must be known to find a job again: plain texts, no key."""
    names = ("request_id", "status_url", "response_url", "cancel_url")
    return {name: str(getattr(handle, name)) for name in names}


def read_status(handle: fal_client.SyncRequestHandle) -> QueueStatus:
    """How the job stands now. Raises Trouble."""
    with _read():
        status = handle.status(with_logs=True)
        return QueueStatus.model_validate(asdict(status) | {"finished": isinstance(status, fal_client.Completed)})


def read_output(handle: fal_client.SyncRequestHandle) -> Output:
    """The result of a finished job, asked for once (the handle's own `get` would begin to poll). Raises Trouble."""
    with _read():
        return Output.model_validate(handle.client.get(handle.response_url).json())


@contextmanager
def _read() -> Iterator[None]:
    """What fal_client, json and pydantic raise about an odd answer becomes `Unreadable`."""
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
    """Level and message of a log entry: one line, printable, short. An odd entry is an empty line."""
    plain = entry if isinstance(entry, dict) else {}
    return str(plain.get("level", "INFO")), one_line(plain.get("message", ""))


def one_line(text: object) -> str:
    """A text of fal's as it may be shown and logged."""
    words = " ".join(str(text).split())
    return "".join(letter for letter in words if letter.isprintable())[:MAX_LINE_CHARS]
