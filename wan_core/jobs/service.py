"""Turn requests into jobs. The only place that checks limits; knows no page and no protocol."""

import asyncio
import contextvars
import filecmp
import secrets
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from PIL import Image
from pydantic import SecretStr

from wan_core import cutting, geometry
from wan_core.cutting import Cut
from wan_core.endpoints import IMAGE_TO_VIDEO, Endpoint
from wan_core.errors import FRAMES_GONE, BackendError, InputError, writing_to_disk
from wan_core.events import Event, Finished, Group, Job, JobOptions, Note, Result, Where
from wan_core.explore.effects import FINISHING_FIELDS, effective
from wan_core.files import UPLOADED, FileStore, atomic_write, new_file_id
from wan_core.geometry import Size
from wan_core.jobs.budget import FalBudget
from wan_core.jobs.fal_keys import FalKeys
from wan_core.jobs.forgetting import forget_request
from wan_core.jobs.leftovers import may_have_frames
from wan_core.jobs.limits import Client
from wan_core.jobs.places import Place, Places
from wan_core.jobs.record import JobRecord
from wan_core.jobs.rows import NewJob, Row, Webhook
from wan_core.jobs.runner import JobRunner
from wan_core.jobs.store import JobStore
from wan_core.jobs.stored_png import write_png
from wan_core.jobs.waiting import Outlook, seconds_left, wait_s
from wan_core.jobs.webhooks import WebhookStore
from wan_core.pricing import dollars_on_fal
from wan_core.schema import MAX_SEED, ImageToVideoInput
from wan_core.settings import Limits

MAX_EXPANSIONS = 2
MAX_PREVIEWS = 8
MAX_PREVIEWS_PER_CLIENT = 2
PREVIEW_SIDE = 640
PICTURE_GONE = "The picture of this clip is not kept here any more. Choose it again."
SEARCHED_CLIPS = 300  # of a client, among which a sweep looks for its own

KEY_AGAIN = "This was begun with your own fal key, which is not kept here. Enter it again under “Where it runs”."

T = TypeVar("T")
P = ParamSpec("P")


class ReadPicture(Protocol):
    """What `use` makes of the picture, in a thread."""

    def __call__(self, source: str | Path, use: Callable[[Image.Image], T]) -> Awaitable[T]: ...


@dataclass(frozen=True)
class Submission:
    """`uploads`: files of picture fields. Not started within `start_within_s`, the job fails with `request_timeout`.
    `notes` go with its result; `webhook` is told of it.

    In a group, `position` is its place and `reuses` the index of the submission whose raw frames it takes.
    """

    inputs: ImageToVideoInput
    options: JobOptions
    uploads: Mapping[str, Path] = field(default_factory=dict)
    endpoint: Endpoint = IMAGE_TO_VIDEO
    start_within_s: float | None = None
    position: int | None = None
    reuses: int | None = None
    notes: tuple[str, ...] = ()
    webhook: Webhook | None = None

    def picture_sources(self) -> dict[str, str | Path]:
        named = {name: self.uploads.get(name) or getattr(self.inputs, name) for name in self.endpoint.picture_fields}
        return {name: source for name, source in named.items() if source}


@dataclass(frozen=True)
class StoredPicture:
    file_id: str
    size: Size


@dataclass(frozen=True)
class PicturePreview:
    """Upright size, and a JPEG of at most PREVIEW_SIDE pixels a side."""

    size: Size
    thumbnail: bytes


class JobService:
    """Without `budget` and `keys`, nothing runs on fal. `pool_of`: (where, engine) → pool. `seconds_of`: of a job."""

    def __init__(
        self,
        store: JobStore,
        runner: JobRunner,
        files: FileStore,
        limits: Limits,
        read_picture: ReadPicture,
        pool_of: Callable[[Where, str], str],
        *,
        per_client: bool,
        budget: FalBudget | None = None,
        keys: FalKeys | None = None,
        seconds_of: Callable[[Job], float] = lambda job: 0.0,
    ) -> None:
        self._seconds_of = seconds_of
        self.files = files
        self.webhooks = WebhookStore(store)
        self._store = store
        self._runner = runner
        self._limits = limits
        self._read_picture = read_picture
        self._pool_of = pool_of
        self._per_client = per_client
        self._budget = budget
        self._keys = keys
        self._places = Places(runner.records.unfinished, limits, per_client=per_client)
        self._expansions = 0
        self._previews: Counter[str] = Counter()
        self._abandoning: set[asyncio.Future[None]] = set()

    @contextmanager
    def reserve(self, client: Client, count: int = 1) -> Iterator[Place]:
        """Within the block, while bodies come. Raises BackendError for too many jobs or a full disk."""
        if shutil.disk_usage(self.files.root).free < self._limits.free_disk_bytes:
            raise BackendError("storage_full", "This server's disk is full. Try again later.", retry_after_s=600)
        with self._places.reserve(client, count) as place:
            yield place

    async def submit(
        self, submission: Submission, client: Client, fal_key: SecretStr | None = None, place: Place | None = None
    ) -> JobRecord:
        """`fal_key`: the visitor's, for this job alone.

        Raises:
            InputError: a picture is unusable.
            BackendError: too many jobs, no payment for fal, or a full disk.
        """
        (record,) = await self.submit_many([submission], client, fal_key=fal_key, place=place)
        return record

    async def submit_many(
        self,
        submissions: Sequence[Submission],
        client: Client,
        *,
        group: Group | None = None,
        fal_key: SecretStr | None = None,
        place: Place | None = None,
    ) -> list[JobRecord]:
        """All or none; a shared picture is stored once. Raises as `submit` does.

        `group` counts as one job to the limits; clips of this client with the same settings are not made again.
        """
        pictures: dict[str | Path, StoredPicture] = {}
        holding = nullcontext(place) if place else self.reserve(client, len(submissions) if group is None else 1)
        with holding as place, self._delete_on_error(pictures):
            self._refuse_if_unpaid(submissions if fal_key is None else (), client)
            for field, source in (pair for each in submissions for pair in each.picture_sources().items()):
                if source not in pictures:
                    pictures[source] = await self._store_picture(source, field)
            jobs = [_job(submission, pictures) for submission in submissions]
            if group is None:
                return await self._in_thread(self._queue, jobs, client, place, fal_key, submissions)
            jobs = _grouped(jobs, submissions, group)
            return await self._in_thread(self._queue_missing, jobs, submissions, client, place, fal_key)

    async def _in_thread(
        self, queue: Callable[P, list[JobRecord]], *args: P.args, **named: P.kwargs
    ) -> list[JobRecord]:
        """If the caller is cancelled while `queue` runs, so are its jobs."""
        queueing = asyncio.ensure_future(asyncio.to_thread(queue, *args, **named))
        try:
            return await asyncio.shield(queueing)
        except asyncio.CancelledError:
            queueing.add_done_callback(self._abandon_all)
            raise

    def _abandon_all(self, queued: asyncio.Future[list[JobRecord]]) -> None:
        for record in [] if queued.exception() else queued.result():
            abandoning = asyncio.ensure_future(self.abandon(record))
            self._abandoning.add(abandoning)
            abandoning.add_done_callback(self._abandoning.discard)

    def make_again(self, records: Sequence[JobRecord], client: Client, fal_key: SecretStr | None) -> list[JobRecord]:
        """Queue the jobs of a group once more, with the stored pictures. Raises as `submit` does."""
        self._refuse_without_key(records, fal_key)
        new_ids = {record.job.id: str(uuid.uuid4()) for record in records}

        def renamed(job: Job) -> Job:
            return replace(job, id=new_ids[job.id], frames_of=new_ids.get(job.frames_of or "", job.frames_of))

        for record in records:
            self._refuse_if_forgotten(record.job)
        jobs = [renamed(record.job) for record in records]
        with self.reserve(client) as place:
            return self._queue(jobs, client, place, fal_key)

    def make_with(
        self, record: JobRecord, changes: Mapping[str, object], client: Client, fal_key: SecretStr | None
    ) -> JobRecord:
        """With the picture and settings of `record`, but for `changes`.

        Raises:
            InputError: a value is out of bounds.
            BackendError: as `submit` does.
        """
        job = record.job
        self._refuse_if_forgotten(job)
        self._refuse_without_key([record], fal_key)
        kept = {name: getattr(job.inputs, name) for name in job.files}
        judged = IMAGE_TO_VIDEO.parse(job.inputs.model_dump() | dict.fromkeys(job.files, "kept") | dict(changes))
        with Image.open(self.files.picture(job.picture)) as picture:
            size = geometry.frame_size(judged.resolution, judged.aspect_ratio, Size(*picture.size))
        inputs = judged.model_copy(update=kept)
        job = replace(job, options=replace(job.options, cut=cutting.WHOLE))
        again = replace(job, id=str(uuid.uuid4()), inputs=inputs, size=size, frames_of=None, group=None)
        with self.reserve(client) as place:
            return self._queue([again], client, place, fal_key)[0]

    def _refuse_without_key(self, records: Sequence[JobRecord], fal_key: SecretStr | None) -> None:
        """The owner does not pay for what a visitor's key has begun."""
        visitors = [each for each in records if each.job.options.where != "local"]
        if fal_key is None and any(not self._store.owner_pays(each.job.id) for each in visitors):
            raise InputError("fal_key", "missing", KEY_AGAIN)

    def finish_again(
        self,
        source: JobRecord,
        changes: Mapping[str, object],
        client: Client,
        *,
        picture_detail: bool | None = None,
        cut: Cut | None = None,
    ) -> JobRecord:
        """Interpolate and encode the kept frames of `source` again.

        `picture_detail`, `cut`: as in the source unless given. `cut` counts the kept frames.

        Raises:
            InputError: a field cannot change now, or a value is out of bounds.
            BackendError: no kept frames, too many jobs, or a full disk.
        """
        for name in changes:
            if name not in FINISHING_FIELDS:
                raise InputError(name, "feature_not_supported", f"{name} cannot be changed without a new generation.")
        if not self.has_frames(source):
            raise BackendError("frames_not_kept", FRAMES_GONE)
        job = source.job
        self._refuse_if_forgotten(job)
        used = source.outcome.result.prompt if isinstance(source.outcome, Finished) else job.inputs.prompt
        kept = {name: getattr(job.inputs, name) for name in job.files} | {"prompt": used}
        judged = IMAGE_TO_VIDEO.parse(job.inputs.model_dump() | dict.fromkeys(job.files, "kept") | dict(changes))
        again = replace(
            job,
            id=str(uuid.uuid4()),
            inputs=judged.model_copy(update=kept),
            options=replace(
                job.options,
                where="local",
                picture_detail=job.options.picture_detail if picture_detail is None else picture_detail,
                cut=job.options.cut if cut is None else cutting.parse(cutting.to_plain(cut), job.inputs.num_frames),
            ),
            frames_of=job.frames_of or job.id,
            group=None,
        )
        with self.reserve(client) as place:
            (record,) = self._queue([again], client, place)
        return record

    async def expand(self, source: str | Path, prompt: str) -> tuple[str, str]:
        """The new prompt and a note: empty, or why it is unchanged.

        Raises:
            InputError: picture or prompt is unusable, or none could be written.
            BackendError: two rewrites are running, or no backend can.
        """
        IMAGE_TO_VIDEO.parse({"image_url": str(source), "prompt": prompt, "enable_prompt_expansion": True})
        if self._expansions >= MAX_EXPANSIONS:
            raise BackendError("too_many_jobs", "Others are having a prompt written now. Try again in a moment.")
        self._expansions += 1
        try:
            picture = await self._store_picture(source)
            try:
                return await asyncio.to_thread(self._runner.expand, picture.file_id, prompt)
            finally:
                self.files.picture(picture.file_id).unlink(missing_ok=True)
        finally:
            self._expansions -= 1

    async def preview_picture(self, source: str | Path, client: Client) -> PicturePreview:
        """As a job would get it; nothing is stored.

        Raises:
            InputError: the picture cannot be used.
            BackendError: too many are being read.
        """
        with self._count_preview(client):
            return await self._read_picture(source, _preview)

    @property
    def waiting(self) -> int:
        return sum(record.status == "queued" for record in self._runner.records.unfinished())

    @property
    def dollars_left(self) -> float | None:
        """What the owner's key may still pay on fal today; `None` without a key."""
        return self._budget.dollars_left if self._budget else None

    def outlook(self, where: Where, engine: str) -> Outlook:
        """What such a job, added now, has before it."""
        pool = self._pool_of(where, engine)
        workers, trouble = self._runner.workers(pool), self._runner.trouble(pool)
        own = self._limits.running_jobs_per_client if self._per_client else workers
        unfinished = self._runner.records.unfinished(pool)
        ahead = [each for each in unfinished if each.status == "running" or not each.job.options.low_priority]
        running = [seconds_left(each, self._seconds_of, time.time()) for each in ahead if each.status == "running"]
        queued = [self._seconds_of(each.job) for each in ahead if each.status == "queued"]
        wait = wait_s(running, queued, workers) if workers else 0.0
        return Outlook(len(ahead), wait, max(1, min(own, workers)), trouble)

    def get(self, job_id: str) -> JobRecord | None:
        """Cheap to poll."""
        return self._runner.records.get(job_id)

    def result(self, record: JobRecord | None) -> Result | None:
        """`None` unless the job is done and its clip kept."""
        if record is None or not isinstance(record.outcome, Finished):
            return None
        return record.outcome.result if self.files.clip(record.job.id).is_file() else None

    def has_frames(self, record: JobRecord) -> bool:
        """For `finish_again`: the job is done, or failed while its clip was written."""
        return may_have_frames(record.outcome) and self.files.frames(record.job.frames_of or record.job.id).is_file()

    def _refuse_if_forgotten(self, job: Job) -> None:
        """Raise InputError if a picture of `job` is gone, because its sender had set a time."""
        for name, picture in job.files.items():
            if not self.files.picture(picture).is_file():
                raise InputError(name, "file_download_error", PICTURE_GONE)

    async def watch(self, record: JobRecord) -> AsyncIterator[Event]:
        async for event in record.watch():
            yield event

    async def watch_in_batches(self, record: JobRecord, every_s: float) -> AsyncIterator[list[Event]]:
        """See `JobRecord.watch_in_batches`."""
        async for events in record.watch_in_batches(every_s):
            yield events

    def cancel(self, record: JobRecord) -> bool:
        """`False` if it was over."""
        if record.is_over:
            return False
        self._runner.cancel(record)
        return True

    async def abandon(self, record: JobRecord) -> None:
        """Cancel a job whose caller has left, and wait for its end: nobody will ask for it."""
        await asyncio.to_thread(self.cancel, record)
        async for _ in record.watch():
            pass
        await asyncio.to_thread(self.note_answered, record)

    def note_answered(self, record: JobRecord) -> None:
        """Call when its caller has been told the end of a job: a private one keeps nothing of the request then."""
        if record.is_over and record.job.options.private:
            forget_request(record, self._store, self.files, self._runner.records)

    async def _store_picture(self, source: str | Path, field: str = "image_url") -> StoredPicture:
        """Raises InputError at `field`."""
        name = str(source).removeprefix(UPLOADED).partition("?")[0].rpartition("/")[2]
        file_id, abandoned = new_file_id(self.files.upload_expiry(name)), threading.Event()
        path = self.files.picture(file_id)
        try:
            size = await self._read_picture(source, partial(_save, path, abandoned))
        except BaseException as error:
            abandoned.set()  # the thread may still be at it
            path.unlink(missing_ok=True)
            if isinstance(error, InputError) and error.field != field:
                raise error.at(field) from error
            raise
        return StoredPicture(file_id, size)

    def _queue(
        self,
        jobs: Sequence[Job],
        client: Client,
        place: Place,
        fal_key: SecretStr | None = None,
        submissions: Sequence[Submission] = (),
    ) -> list[JobRecord]:
        """All or none. `submissions`: where they came from, if each has one."""
        place.job_ids.update(job.id for job in jobs)
        context = contextvars.copy_context()
        new = [
            NewJob(
                job,
                client.id,
                self._pool(job.options),
                start_within_s=asked.start_within_s if asked else None,
                owner_pays=job.options.where != "local" and fal_key is None,
                webhook=asked.webhook if asked else None,
            )
            for job, asked in zip_longest(jobs, submissions)
        ]
        try:
            rows = self._store.add(*new)
            for each in new:
                self._pay(each, fal_key)
        except BackendError:
            self._store.remove(*(job.id for job in jobs))
            self._store.forget_spending(*(job.id for job in jobs))
            raise
        records = [JobRecord.from_row(row) for row in rows]
        for record in records:
            for note in record.job.notes:
                record.publish(Note(note))
            record.context = context
        self._runner.add(*records)
        return records

    def _queue_missing(
        self,
        jobs: Sequence[Job],
        submissions: Sequence[Submission],
        client: Client,
        place: Place,
        fal_key: SecretStr | None,
    ) -> list[JobRecord]:
        """Queues jobs whose clips do not exist yet; a record for each of `jobs`."""
        own = self._store.done_of(client.id, SEARCHED_CLIPS)
        present = [self._same_clip(job, own) for job in jobs]

        def source_of(submission: Submission) -> str | None:
            if submission.reuses is None:
                return None
            return self._frames_from(present[submission.reuses], jobs[submission.reuses])

        settled = [replace(job, frames_of=source_of(each)) for job, each in zip(jobs, submissions, strict=True)]
        missing = [job for job, record in zip(settled, present, strict=True) if record is None]
        queued = iter(self._queue(missing, client, place, fal_key) if missing else [])
        return [record or next(queued) for record in present]

    def _frames_from(self, taken: JobRecord | None, source: Job) -> str | None:
        """The job whose frames a cell reuses; `None` if they are not kept, or on fal."""
        if taken is not None:
            return (taken.job.frames_of or taken.job.id) if self.has_frames(taken) else None
        return source.id if source.options.where == "local" else None

    def _same_clip(self, job: Job, own: Sequence[Row]) -> JobRecord | None:
        """With the same pictures and, as far as they have an effect, the same settings."""
        wanted = _settings_of(job)
        for row in own:
            if _settings_of(row.job) == wanted and self._has_same_pictures(job, row.job):
                record = self.get(row.job.id)
                if self.result(record) is not None:
                    return record
        return None

    def _has_same_pictures(self, job: Job, other: Job) -> bool:
        pairs = [(self.files.picture(job.files[name]), self.files.picture(other.files[name])) for name in job.files]
        return all(new.is_file() and old.is_file() and filecmp.cmp(new, old, shallow=False) for new, old in pairs)

    def _pay(self, new: NewJob, fal_key: SecretStr | None) -> None:
        if new.job.options.where != "local" and fal_key is not None:
            self._require_budget()
            assert self._keys is not None
            self._keys.lend(new.job.id, fal_key)
        if new.pool == "fal":
            self._require_budget().reserve(new.job)

    def _pool(self, options: JobOptions) -> str:
        return self._pool_of(options.where, options.engine)

    def _require_budget(self) -> FalBudget:
        if self._budget is None:
            raise BackendError("engine_unavailable", "This server does not run jobs on fal.")
        return self._budget

    def _refuse_if_unpaid(self, submissions: Sequence[Submission], client: Client) -> None:
        """Raises BackendError if the owner's key may not pay for those that go to fal."""
        paid = [each for each in submissions if self._pool(each.options) == "fal"]
        if paid:
            dollars = sum(dollars_on_fal(each.inputs, each.endpoint) for each in paid)
            self._require_budget().refuse_if_spent(dollars, client.id)

    @contextmanager
    def _count_preview(self, client: Client) -> Iterator[None]:
        own = self._previews[client.id] if self._per_client else 0
        if self._previews.total() >= MAX_PREVIEWS or own >= MAX_PREVIEWS_PER_CLIENT:
            sentence = "Too many pictures are being read now; this one is looked at when you press Generate."
            raise BackendError("too_many_jobs", sentence, retry_after_s=5)
        self._previews[client.id] += 1
        try:
            yield
        finally:
            self._previews[client.id] -= 1
            self._previews += Counter()  # drops the clients at zero

    @contextmanager
    def _delete_on_error(self, pictures: Mapping[str | Path, StoredPicture]) -> Iterator[None]:
        try:
            yield
        except BaseException:
            for picture in pictures.values():
                with suppress(OSError):
                    self.files.picture(picture.file_id).unlink(missing_ok=True)
            raise


def _save(path: Path, abandoned: threading.Event, picture: Image.Image) -> Size:
    with writing_to_disk("The picture could not be stored"), atomic_write(path) as part:
        write_png(picture, part)
    if abandoned.is_set():
        path.unlink(missing_ok=True)
    return Size(*picture.size)


def _preview(picture: Image.Image) -> PicturePreview:
    size, stored = Size(*picture.size), BytesIO()
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    picture.save(stored, "JPEG", quality=88)
    return PicturePreview(size, stored.getvalue())


def _grouped(jobs: Sequence[Job], submissions: Sequence[Submission], group: Group) -> list[Job]:
    positions = [number if each.position is None else each.position for number, each in enumerate(submissions)]
    return [replace(job, group=replace(group, position=at)) for job, at in zip(jobs, positions, strict=True)]


def _settings_of(job: Job) -> tuple[dict[str, object], JobOptions, str, frozenset[str]]:
    """Without pictures."""
    inputs = {name: value for name, value in effective(job.inputs).items() if name not in job.files}
    return inputs, job.options, job.endpoint, frozenset(job.files)


def _job(submission: Submission, pictures: Mapping[str | Path, StoredPicture]) -> Job:
    """Draws a missing seed."""
    inputs = submission.inputs
    stored = {name: pictures[source] for name, source in submission.picture_sources().items()}
    settled: dict[str, object] = {
        name: "" for name in stored if not str(getattr(inputs, name)).startswith(("http://", "https://"))
    }  # the bytes lie in the file store
    if inputs.seed is None:
        settled["seed"] = secrets.randbelow(MAX_SEED + 1)
    return Job(
        str(uuid.uuid4()),
        inputs.model_copy(update=settled),
        geometry.frame_size(inputs.resolution, inputs.aspect_ratio, stored["image_url"].size),
        submission.options,
        {name: picture.file_id for name, picture in stored.items()},
        submission.endpoint.id,
        notes=submission.notes,
    )
