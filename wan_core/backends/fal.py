"""Runs jobs on fal with its official client: send → note the request id → look → fetch the answer → fetch the clip.

Guarantees: a job is submitted once, ever; what fal gave to find it again is on disk before anything else is done, so
that after a crash the next `run` looks on where this one stopped; a lost answer to a submission ends the job with a
sentence that says so. The key is held for one run, and is in no event, row, log or error. Knows no prices and no pages.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

import fal_client
from PIL import Image
from pydantic import SecretStr

from wan_core import encoding
from wan_core.backends import fal_words as words
from wan_core.backends.fal_wire import (
    SOUND_KEY,
    FalClient,
    Hosts,
    Output,
    Pace,
    Standing,
    Trouble,
    kept,
    output,
    standing,
)
from wan_core.errors import BackendError, Cancelled, InputError
from wan_core.events import Beat, Event, Finished, Job, Log, LogLevel, Note, Queued, Result, Stage, Where
from wan_core.intake import Fetcher, FetchLimits
from wan_core.settings import DataFolder, Limits

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

FAL = Hosts()
PACE = Pace()
MODEL = "a14b"  # the engine that fal's endpoint runs
MINIATURE = "miniature"
MAX_INLINE_BYTES = 7_000_000  # as a data URI this is 9.3 MB of text; fal's toolkit takes up to 10 MiB
JPEG = {"quality": 95, "subsampling": 0}
MAX_LOG_LINES = 500
DOWNLOAD_S = 600.0
DOWNLOADS = 3
CANCEL_S = 5.0
LEVELS: dict[str, LogLevel] = {"ERROR": "ERROR", "WARN": "WARN", "WARNING": "WARN"}
AT_ONCE = "Made on fal by the full model, because the only engine of this machine is the miniature."


class Notes(Protocol):
    """Where it is written what fal gave us to find a job again."""

    def remote(self, job_id: str) -> dict[str, str] | None: ...

    def set_remote(self, job_id: str, remote: dict[str, str]) -> None: ...

    def forget_remote(self, job_id: str) -> None: ...


class Purse(Protocol):
    """Whose key a job uses, and whether it may."""

    def key_for(self, job_id: str) -> SecretStr | None: ...

    def reserve(self, job: Job) -> None: ...

    def forget(self, job_id: str) -> None: ...


@dataclass
class Stop:
    """A wish to stop. `there`: fal is to stop as well; else this app closes and the job goes on without it."""

    asked: threading.Event = field(default_factory=threading.Event)
    there: bool = False

    def wait(self, seconds: float) -> None:
        """Raises Cancelled as soon as somebody wishes to stop."""
        if self.asked.wait(seconds):
            raise Cancelled()


class FalBackend:
    """`hosts`, `fetcher`, `pace` and `now` (Unix seconds) are fal's and the world's own; tests give others."""

    def __init__(
        self,
        notes: Notes,
        purse: Purse,
        data: DataFolder,
        limits: Limits,
        *,
        hosts: Hosts = FAL,
        fetcher: Fetcher | None = None,
        pace: Pace = PACE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._notes, self._purse, self._data, self._limits = notes, purse, data, limits
        self._hosts, self._pace, self._now = hosts, pace, now
        over_tls = FetchLimits(total_s=DOWNLOAD_S, ports=frozenset({443}))
        self._fetcher = fetcher or Fetcher(limits=over_tls, hosts=hosts.media)
        self._stops: dict[str, Stop] = {}
        self._closing = False

    def run(self, job: Job) -> Iterator[Event]:
        stop = self._stops.setdefault(job.id, Stop())
        try:
            yield Stage("fal")  # whoever wished to stop before this is heard again now
            if job.where == "fal_when_needed" and job.engine == MINIATURE:
                yield Note(AT_ONCE)
            yield from self._run(job, stop)
        finally:
            self._stops.pop(job.id, None)
            self._purse.forget(job.id)

    def cancel(self, job_id: str) -> None:
        stop = self._stops.get(job_id)
        if stop is not None:
            stop.there = True
            stop.asked.set()

    def expand(self, picture: Path, prompt: str) -> tuple[str, str]:
        return prompt, "fal expands prompts only while it makes the clip."

    def close(self) -> None:
        """Look no longer; the jobs go on at fal and are taken up at the next start."""
        self._closing = True
        for stop in tuple(self._stops.values()):
            stop.asked.set()

    def _run(self, job: Job, stop: Stop) -> Iterator[Event]:
        if self._closing:
            raise Cancelled()
        remote = self._notes.remote(job.id)
        with contextlib.closing(FalClient(self._key(job, remote), self._hosts, self._pace)) as client:
            handle = self._submitted(client, job, stop) if remote is None else client.again(remote)
            yield Log(f"fal has the job as request {handle.request_id}.")
            with _naming(handle.request_id):
                last = yield from self._followed(handle, job, stop)
                answer = self._answer(handle, last, stop)
                yield Log("fal has finished; the clip is fetched.")
                clip = self._fetched(answer.video.url, job, stop)
                yield Finished(_result(job, answer, clip))

    def _key(self, job: Job, remote: dict[str, str] | None) -> SecretStr:
        """The key that pays for `job`; an error where there is none, or where a job was sent but not heard of."""
        if remote is not None and "request_id" not in remote:
            raise BackendError("downstream_service_unavailable", f"{words.INTERRUPTED} {words.OPEN}")
        key = self._purse.key_for(job.id)
        if key is None and remote is not None:
            raise _named(BackendError("unauthorized", words.KEY_GONE), remote["request_id"])
        if key is None:
            raise BackendError("unauthorized", words.NO_KEY)
        if not SOUND_KEY.fullmatch(key.get_secret_value()):
            raise BackendError("unauthorized", words.ODD_KEY)
        return key

    def _submitted(self, client: FalClient, job: Job, stop: Stop) -> fal_client.SyncRequestHandle:
        """Send the job: the note that it is being sent, one POST, the note of what fal answered, in this order."""
        self._purse.reserve(job)
        arguments = job.request.model_dump() | {"image_url": self._image_url(client, job, stop)}
        stop.wait(0)
        remote = {"submitted_at": str(self._now())}
        self._notes.set_remote(job.id, remote)
        try:
            handle = client.begin(arguments)
        except Trouble as trouble:
            if not words.may_be_taken(trouble):
                self._notes.forget_remote(job.id)
            raise words.explained(trouble, "sending") from trouble
        self._notes.set_remote(job.id, remote | kept(handle))
        return handle

    def _image_url(self, client: FalClient, job: Job, stop: Stop) -> str:
        picture, content_type = picture_bytes(job.picture)
        if len(picture) <= MAX_INLINE_BYTES:
            return fal_client.encode(picture, content_type)
        return self._patiently(partial(client.stored, picture, content_type), stop)

    def _followed(self, handle: fal_client.SyncRequestHandle, job: Job, stop: Stop) -> Generator[Event, None, Standing]:
        """News of the job until fal is done with it; stops it there on request, or when its time is over."""
        try:
            return (yield from self._news(handle, job, stop))
        except Cancelled:
            if stop.there:
                yield from self._stopped_there(handle)
            raise
        except TimeoutError:
            yield from self._stopped_there(handle)
            minutes = self._limits.fal_deadline_s / 60
            raise BackendError("generation_timeout", words.TOO_LATE.format(minutes=minutes)) from None

    def _news(self, handle: fal_client.SyncRequestHandle, job: Job, stop: Stop) -> Generator[Event, None, Standing]:
        """Places in fal's queue and new log lines, as they come. Raises TimeoutError past the deadline."""
        deadline = self._deadline(job)
        place: int | None = None
        told = 0
        while True:
            stop.wait(0)
            now = self._patiently(partial(standing, handle), stop)
            if now.position is not None and now.position != place:
                place = now.position
                yield Queued(place)
            lines = now.lines[:MAX_LOG_LINES]
            yield from (Log(text, LEVELS.get(level, "INFO")) for level, text in lines[told:] if text)
            told = max(told, len(lines))
            if now.finished:
                return now
            if self._now() > deadline:
                raise TimeoutError
            yield Beat()
            stop.wait(self._pace.poll_s)

    def _deadline(self, job: Job) -> float:
        sent_at = (self._notes.remote(job.id) or {})["submitted_at"]
        return float(sent_at) + self._limits.fal_deadline_s

    def _stopped_there(self, handle: fal_client.SyncRequestHandle) -> Iterator[Event]:
        """Cancel the job at fal; a line in the log where that was not possible."""
        try:
            insistently(handle.cancel, time.sleep, self._pace, CANCEL_S)
        except Trouble as trouble:
            log.warning("request %s could not be cancelled at fal: %s", handle.request_id, trouble)
            yield Log("fal did not confirm that it stops; the job may go on there and be charged.", "WARN")

    def _answer(self, handle: fal_client.SyncRequestHandle, last: Standing, stop: Stop) -> Output:
        """The result; of a job that failed at fal, the error."""
        if last.error is None and last.error_type is None:
            return self._patiently(partial(output, handle), stop)
        try:
            output(handle)
        except Trouble as trouble:
            raise words.failed(last, trouble) from trouble
        raise words.failed(last)

    def _fetched(self, url: str, job: Job, stop: Stop) -> Path:
        """The clip at `url`, on our disk whole or not at all."""
        if not _is_on(url, self._hosts.media):
            raise BackendError("downstream_service_error", "fal named a clip outside its own hosts; it was not opened.")
        target = self._data.clip(job.id)
        fetch = partial(self._fetcher.fetch_to, url, target, max_bytes=self._limits.max_clip_bytes, accept="video/*")
        for pause in [self._pace.poll_s] * DOWNLOADS:
            try:
                asyncio.run(_unless_stopped(fetch(), stop, self._pace.poll_s))
                return _checked(target, url)
            except InputError as refused:
                if refused.type == "file_too_large":
                    most = self._limits.max_clip_bytes / 1_000_000
                    sentence = f"The clip is larger than {most:g} MB and was not fetched. It lies at {url}"
                    raise BackendError("file_too_large", sentence) from refused
            stop.wait(pause)
        raise BackendError("file_download_error", f"The clip is ready but could not be fetched. It lies at {url}")

    def _patiently(self, ask: Callable[[], Answer], stop: Stop) -> Answer:
        """What fal answers to `ask` in the end, or the error for its last trouble."""
        try:
            return insistently(ask, stop.wait, self._pace, self._pace.silence_s)
        except Trouble as trouble:
            raise words.explained(trouble, "following") from trouble


def lane_of(where: Where, local_engine: str) -> Literal["local", "fal"]:
    """Where a new job waits: one that may go to fal goes at once if the miniature is all there is here."""
    at_once = where == "fal" or (where == "fal_when_needed" and local_engine == MINIATURE)
    return "fal" if at_once else "local"


def picture_bytes(path: Path) -> tuple[bytes, str]:
    """The job's picture and its media type: the PNG itself, or a fine JPEG where that is too big for a data URI."""
    if path.stat().st_size <= MAX_INLINE_BYTES:
        return path.read_bytes(), "image/png"
    with Image.open(path) as picture, BytesIO() as buffer:
        picture.save(buffer, "JPEG", **JPEG)
        return buffer.getvalue(), "image/jpeg"


def insistently(ask: Callable[[], Answer], wait: Callable[[float], None], pace: Pace, limit_s: float) -> Answer:
    """The answer to `ask`, which is asked again, less and less often, for `limit_s` while its trouble may pass."""
    over, pause = time.monotonic() + limit_s, pace.poll_s
    while True:
        try:
            return ask()
        except Trouble as trouble:
            if not trouble.may_pass or time.monotonic() > over:
                raise
        wait(pause)
        pause = min(2 * pause, pace.longest_pause_s)


async def _unless_stopped(work: Coroutine[Any, Any, object], stop: Stop, poll_s: float) -> None:
    """Do `work`; end it with Cancelled if somebody wishes to stop meanwhile."""
    task = asyncio.ensure_future(work)
    while not (await asyncio.wait([task], timeout=poll_s))[0]:
        if stop.asked.is_set():
            task.cancel()
            await asyncio.wait([task])
            raise Cancelled()
    await task


def _checked(clip: Path, url: str) -> Path:
    """The clip if it is an mp4; anything else is removed before a decoder sees it."""
    with clip.open("rb") as file:
        if file.read(8)[4:] == b"ftyp":
            return clip
    clip.unlink()
    raise BackendError("downstream_service_error", f"What fal sent as the clip is no mp4. It lies at {url}")


def _result(job: Job, answer: Output, clip: Path) -> Result:
    found = encoding.probe(clip)
    seed = job.request.seed if answer.seed is None else answer.seed
    assert seed is not None, "a job always has its seed"
    prompt = answer.prompt or job.request.prompt
    fps = round(found.fps)
    return Result(clip, prompt, seed, found.size, found.frames, fps, MODEL, fal_url=answer.video.url)


def _is_on(url: str, hosts: tuple[str, ...]) -> bool:
    try:
        name = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return any(f".{name}".endswith(f".{host}") for host in hosts)


@contextlib.contextmanager
def _naming(request_id: str) -> Iterator[None]:
    """Every `BackendError` of the block says fal's request id: with it, what was paid for can be found."""
    try:
        yield
    except BackendError as error:
        raise _named(error, request_id) from error


def _named(error: BackendError, request_id: str) -> BackendError:
    sentence = f"{error.message.rstrip('.')}. fal's request id is {request_id}."
    return BackendError(error.type, sentence, retry_after_s=error.retry_after_s)
