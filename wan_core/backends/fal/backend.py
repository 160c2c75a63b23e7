"""Run jobs on fal with its official client: submit → note the request id → poll → fetch result and clip.

A job is submitted once, ever; each note is on disk before the next step, so `run` resumes after a crash. The key is
held for one run and appears in no event, row, log or error.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, Protocol

import fal_client
from pydantic import SecretStr

from wan_core.backends.fal import errors as fal_errors
from wan_core.backends.fal.files import Collector, image_url
from wan_core.backends.fal.retry import Answer, CancelToken, FalTrouble, Timeouts, retry
from wan_core.backends.fal.wire import (
    SOUND_KEY,
    FalClient,
    Hosts,
    Output,
    QueueStatus,
    handle_to_dict,
    read_output,
    read_status,
)
from wan_core.encoding import EncodedClip
from wan_core.endpoints import ENDPOINTS, Endpoint
from wan_core.errors import BackendError, Cancelled
from wan_core.events import Event, Finished, Heartbeat, Job, Log, LogLevel, Note, Queued, Result, Stage
from wan_core.files import FileStore
from wan_core.intake import Fetcher, FetchLimits
from wan_core.profiles import FULL_MODEL, EngineProfile, profiles
from wan_core.schema import ADDED, ImageToVideoInput
from wan_core.settings import Limits

__all__ = ["FalBackend"]

log = logging.getLogger(__name__)

Handle = fal_client.SyncRequestHandle
FAL = Hosts()
TIMEOUTS = Timeouts()
MAX_LOG_LINES = 500
DOWNLOAD_S = 600.0
CANCEL_S = 5.0
LEVELS: dict[str, LogLevel] = {"ERROR": "ERROR", "WARN": "WARN", "WARNING": "WARN"}
NO_LIGHTNING = (
    "fal has no {engine} behind this endpoint: its full model, without the Lightning LoRAs, makes this clip in {steps} "
    "steps with guidance {high:g} and {low:g}."
)
AT_ONCE = "Made on fal by the full model; the engine here would have been the {engine}."


class RemoteNotes(Protocol):
    def remote(self, job_id: str) -> dict[str, str] | None: ...

    def set_remote(self, job_id: str, remote: dict[str, str]) -> None: ...

    def forget_remote(self, job_id: str) -> None: ...


class Keys(Protocol):
    def key_for(self, job_id: str) -> SecretStr | None: ...

    def forget(self, job_id: str) -> None: ...


class Budget(Protocol):
    def reserve(self, job: Job) -> None: ...


class FalBackend:
    """`forces_checks`: fal checks the frames of every clip. `now`: Unix seconds."""

    def __init__(
        self,
        notes: RemoteNotes,
        keys: Keys,
        budget: Budget,
        files: FileStore,
        limits: Limits,
        *,
        hosts: Hosts = FAL,
        fetcher: Fetcher | None = None,
        timeouts: Timeouts = TIMEOUTS,
        forces_checks: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._notes, self._keys, self._budget, self._files, self._limits = notes, keys, budget, files, limits
        self._hosts, self._timeouts, self._now = hosts, timeouts, now
        self._forces_checks = forces_checks
        over_tls = FetchLimits(total_s=DOWNLOAD_S, ports=frozenset({443}))
        fetcher = fetcher or Fetcher(limits=over_tls, hosts=hosts.media)
        self._clips = Collector(fetcher, hosts.media, limits.max_clip_bytes, timeouts)
        self._tokens: dict[str, CancelToken] = {}
        self._closing = False

    def start(self) -> None:
        """Nothing to prepare."""

    def run(self, job: Job) -> Iterator[Event]:
        token = self._tokens.setdefault(job.id, CancelToken())
        try:
            yield Stage("fal")  # the runner repeats a cancel that came before the token
            profile = profiles()[job.options.engine]
            if job.options.where == "fal_when_needed" and not profile.is_full_model:
                yield Note(AT_ONCE.format(engine=profile.title.lower()))
            if profile.lightning and ENDPOINTS[job.endpoint].engine is None:
                yield Note(_no_lightning(profile, job.inputs))
            yield from self._run(job, token)
        finally:
            self._tokens.pop(job.id, None)
            self._keys.forget(job.id)

    def cancel(self, job_id: str) -> None:
        token = self._tokens.get(job_id)
        if token is not None:
            token.at_fal = True
            token.requested.set()

    def check(self, picture: str, prompt: str) -> None:
        """Nothing to do: fal checks, if the request asks for it."""

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        return prompt, "fal expands prompts only while it makes the clip."

    def close(self) -> None:
        """Stop polling; the next start resumes the jobs."""
        self._closing = True
        for token in tuple(self._tokens.values()):
            token.requested.set()

    def _run(self, job: Job, token: CancelToken) -> Iterator[Event]:
        if self._closing:
            raise Cancelled()
        remote = self._notes.remote(job.id)
        with contextlib.closing(FalClient(self._key(job, remote), self._hosts, self._timeouts)) as client:
            handle = self._submit(client, job, token) if remote is None else client.resume(remote)
            yield Log(f"fal has the job as request {handle.request_id}.")
            with _add_request_id(handle.request_id):
                last = yield from self._follow(handle, job, token)
                answer = self._answer(handle, last, token)
                yield Log("fal has finished; the clip is fetched.")
                clip = self._clips.collect(answer.video.url, self._files.clip(job.id), token)
                yield Finished(_result(job, answer, clip))

    def _key(self, job: Job, remote: dict[str, str] | None) -> SecretStr:
        """Raises BackendError without a usable key, or if an earlier submission got no answer."""
        if remote is not None and "request_id" not in remote:
            raise BackendError("downstream_service_unavailable", f"{fal_errors.INTERRUPTED} {fal_errors.OPEN}")
        key = self._keys.key_for(job.id)
        if key is None and remote is not None:
            raise _with_request_id(BackendError("engine_unavailable", fal_errors.KEY_GONE), remote["request_id"])
        if key is None:
            raise BackendError("engine_unavailable", fal_errors.NO_KEY)
        if not SOUND_KEY.fullmatch(key.get_secret_value()):
            raise BackendError("engine_unavailable", fal_errors.ODD_KEY)
        return key

    def _submit(self, client: FalClient, job: Job, token: CancelToken) -> Handle:
        """Note the submission, POST once, note fal's answer, in this order."""
        self._budget.reserve(job)
        endpoint = ENDPOINTS[job.endpoint]
        arguments = self._arguments(endpoint, job) | self._addresses(client, job, token)
        token.wait(0)
        remote = {"submitted_at": str(self._now())}
        self._notes.set_remote(job.id, remote)
        try:
            handle = client.submit_once(endpoint.id, arguments)
        except FalTrouble as trouble:
            if not fal_errors.may_have_accepted(trouble):
                self._notes.forget_remote(job.id)
            raise fal_errors.explain(trouble, "sending") from trouble
        self._notes.set_remote(job.id, remote | handle_to_dict(handle))
        return handle

    def _arguments(self, endpoint: Endpoint, job: Job) -> dict[str, Any]:
        """Of the added fields only those that say something."""
        given = job.inputs.model_dump(include=set(endpoint.fields), exclude_none=True)
        told = {name: value for name, value in given.items() if name not in ADDED or value}
        return told | ({"enable_output_safety_checker": True} if self._forces_checks else {})

    def _addresses(self, client: FalClient, job: Job, token: CancelToken) -> dict[str, str]:
        """Picture field → address that fal can open."""

        def upload(content: bytes, media_type: str) -> str:
            return self._ask_fal(partial(client.upload_picture, content, media_type), token)

        return {name: image_url(self._files.picture(picture), upload) for name, picture in job.files.items()}

    def _follow(self, handle: Handle, job: Job, token: CancelToken) -> Generator[Event, None, QueueStatus]:
        try:
            return (yield from self._iter_updates(handle, job, token))
        except Cancelled:
            if token.at_fal:
                yield from self._cancel_at_fal(handle)
            raise
        except TimeoutError:
            yield from self._cancel_at_fal(handle)
            minutes = self._limits.fal_deadline_s / 60
            raise BackendError("generation_timeout", fal_errors.TOO_LATE.format(minutes=minutes)) from None

    def _iter_updates(self, handle: Handle, job: Job, token: CancelToken) -> Generator[Event, None, QueueStatus]:
        """Raises TimeoutError past the deadline."""
        deadline = self._deadline(job)
        place: int | None = None
        told = 0
        while True:
            token.wait(0)
            now = self._ask_fal(partial(read_status, handle), token)
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
            yield Heartbeat()
            token.wait(self._timeouts.poll_s)

    def _deadline(self, job: Job) -> float:
        sent_at = (self._notes.remote(job.id) or {})["submitted_at"]
        return float(sent_at) + self._limits.fal_deadline_s

    def _cancel_at_fal(self, handle: Handle) -> Iterator[Event]:
        try:
            retry(handle.cancel, time.sleep, self._timeouts, CANCEL_S)
        except FalTrouble as trouble:
            log.warning("request %s could not be cancelled at fal: %s", handle.request_id, trouble)
            yield Log("fal did not confirm that it stops; the job may go on there and be charged.", "WARN")

    def _answer(self, handle: Handle, last: QueueStatus, token: CancelToken) -> Output:
        if last.error is None and last.error_type is None:
            return self._ask_fal(partial(read_output, handle), token)
        try:
            read_output(handle)
        except FalTrouble as trouble:
            raise fal_errors.explain_failure(last, trouble) from trouble
        raise fal_errors.explain_failure(last)

    def _ask_fal(self, ask: Callable[[], Answer], token: CancelToken) -> Answer:
        try:
            return retry(ask, token.wait, self._timeouts, self._timeouts.silence_s)
        except FalTrouble as trouble:
            raise fal_errors.explain(trouble, "following") from trouble


def _no_lightning(profile: EngineProfile, inputs: ImageToVideoInput) -> str:
    scales = {"high": inputs.guidance_scale, "low": inputs.guidance_scale_2}
    return NO_LIGHTNING.format(engine=profile.title, steps=inputs.num_inference_steps, **scales)


def _result(job: Job, answer: Output, clip: EncodedClip) -> Result:
    seed = job.inputs.seed if answer.seed is None else answer.seed
    assert seed is not None, "a job always has its seed"
    prompt = answer.prompt or job.inputs.prompt
    fps = round(clip.fps)
    engine = ENDPOINTS[job.endpoint].engine or FULL_MODEL
    return Result(prompt, seed, clip.size, clip.frames, fps, engine, fal_url=answer.video.url)


@contextlib.contextmanager
def _add_request_id(request_id: str) -> Iterator[None]:
    """To every `BackendError`, so that a paid result can be found."""
    try:
        yield
    except BackendError as error:
        raise _with_request_id(error, request_id) from error


def _with_request_id(error: BackendError, request_id: str) -> BackendError:
    sentence = f"{error.message.rstrip('.')}. fal's request id is {request_id}."
    return BackendError(error.type, sentence, retry_after_s=error.retry_after_s)
