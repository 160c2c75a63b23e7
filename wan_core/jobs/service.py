"""The one desk where a request becomes a job: page, HTTP, the named endpoint and MCP all come here.

Limits are checked here and nowhere else. Knows no page and no protocol; hands out ids, events and outcomes.
"""

import asyncio
import contextvars
import secrets
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from pydantic import SecretStr

from wan_core import geometry, schema
from wan_core.errors import BackendError, InputError
from wan_core.events import Event, Finished, Job, Where
from wan_core.jobs.budget import FalBudget
from wan_core.jobs.limits import Client, refuse_if_full
from wan_core.jobs.record import JobRecord
from wan_core.jobs.runner import JobRunner
from wan_core.jobs.store import JobStore
from wan_core.schema import ImageToVideoInput
from wan_core.settings import DataFolder, Limits

__all__ = ["FINISHING_FIELDS", "Client", "JobOptions", "JobRecord", "JobService"]

EXPANSIONS_AT_ONCE = 2
FINISHING_FIELDS = (
    "frames_per_second",
    "interpolator_model",
    "num_interpolated_frames",
    "adjust_fps_for_interpolation",
    "video_quality",
    "video_write_mode",
)


@dataclass(frozen=True)
class JobOptions:
    """How a request is to be carried out: what the page and presets choose, and HTTP leaves to the defaults."""

    engine: str
    where: Where = "local"
    prompt_in_file: bool = True
    fal_key: SecretStr | None = None  # the visitor's own, for this one job


class JobService:
    """`read_picture` is the one gate for pictures; `purse` pays fal.

    `lane_of` says in which lane a job waits, by where it wishes to run and by its engine.
    """

    def __init__(
        self,
        store: JobStore,
        runner: JobRunner,
        data: DataFolder,
        limits: Limits,
        read_picture: Callable[[str | Path], Awaitable[Image.Image]],
        pool_of: Callable[[Where, str], str],
        *,
        per_client: bool,
        budget: FalBudget | None = None,
    ) -> None:
        self.data = data
        self._store = store
        self._runner = runner
        self._limits = limits
        self._read_picture = read_picture
        self._pool_of = pool_of
        self._per_client = per_client
        self._budget = budget
        self._mutex = threading.Lock()
        self._expanding = 0

    async def submit(
        self,
        request: ImageToVideoInput,
        client: Client,
        options: JobOptions,
        upload: Path | None = None,
        start_within_s: float | None = None,
    ) -> JobRecord:
        """Accept `request` as a job. `upload` is the picture's file where the page has received it already.

        A job that has not begun after `start_within_s` fails with `request_timeout`.

        Raises:
            InputError: the picture cannot be used.
            BackendError: too many jobs, nobody pays fal, or no room on the disk.
        """
        self._refuse_if_full(client)
        if options.fal_key is None and self._pool_of(options.where, options.engine) == "fal":
            self._require_budget().refuse_if_spent(request, client.id)
        picture = await self._read_picture(upload or request.image_url)
        return await asyncio.to_thread(self._accept, request, client, options, picture, start_within_s)

    def finish_again(self, source: JobRecord, changes: Mapping[str, object], client: Client) -> JobRecord:
        """A new job that interpolates and encodes the kept frames of `source` with other settings.

        Raises:
            InputError: a field that cannot be changed now, or a value out of bounds.
            BackendError: there are no frames to start from; too many jobs; no room.
        """
        self._refuse_if_full(client)
        for name in changes:
            if name not in FINISHING_FIELDS:
                raise InputError(name, "feature_not_supported", f"{name} cannot be changed without a new generation.")
        if not self.has_frames(source):
            raise BackendError("frames_not_kept", "The frames of this clip are not kept here; generate it again.")
        plain = source.job.request.model_dump() | {"image_url": source.job.request.image_url or "kept"}
        assert isinstance(source.outcome, Finished)
        kept = {"image_url": source.job.request.image_url, "prompt": source.outcome.result.prompt}
        request = schema.parse(plain | dict(changes)).model_copy(update=kept)
        origin = source.job.frames_of or source.job.id
        new_id = str(uuid.uuid4())
        picture = self.data.picture(new_id)
        shutil.copyfile(source.job.picture, picture)
        job = replace(source.job, id=new_id, request=request, picture=picture, where="local", frames_of=origin)
        return self._queue(job, client, "local")

    async def expand(self, source: str | Path, prompt: str) -> tuple[str, str]:
        """`prompt` rewritten for the picture in `source`, and a note (why it is unchanged, if it is).

        Raises:
            InputError: picture or prompt cannot be used, or the prompt is empty and none could be written.
            BackendError: two rewrites run already, or nobody is there to write.
        """
        schema.parse({"image_url": str(source), "prompt": prompt, "enable_prompt_expansion": True})
        if self._expanding >= EXPANSIONS_AT_ONCE:
            raise BackendError("too_many_jobs", "Others are having a prompt written now. Try again in a moment.")
        self._expanding += 1
        path = self.data.picture(str(uuid.uuid4()))
        try:
            picture = await self._read_picture(source)
            await asyncio.to_thread(picture.save, path, compress_level=1)
            return await asyncio.to_thread(self._runner.expand, path, prompt)
        finally:
            self._expanding -= 1
            path.unlink(missing_ok=True)

    @property
    def waiting(self) -> int:
        """How many jobs have not begun."""
        return sum(record.status == "queued" for record in list(self._runner.records.values()))

    def get(self, job_id: str) -> JobRecord | None:
        """The job of that id, from memory: cheap enough to ask ten times a second."""
        return self._runner.records.get(job_id)

    def has_frames(self, record: JobRecord) -> bool:
        """Whether the raw frames of a finished job are still kept."""
        over = isinstance(record.outcome, Finished)
        return over and self.data.frames(record.job.frames_of or record.job.id).is_file()

    async def watch(self, record: JobRecord) -> AsyncIterator[Event]:
        """All events of a job from the first on, until it is over."""
        async for event in record.watch():
            yield event

    def cancel(self, record: JobRecord) -> bool:
        """Ask a job to stop; `False` if it was over already."""
        if record.is_over:
            return False
        self._runner.cancel(record)
        return True

    def _accept(
        self,
        request: ImageToVideoInput,
        client: Client,
        options: JobOptions,
        picture: Image.Image,
        start_within_s: float | None,
    ) -> JobRecord:
        job_id = str(uuid.uuid4())
        size = geometry.frame_size(request.resolution, request.aspect_ratio, geometry.Size(*picture.size))
        path = self.data.picture(job_id)
        picture.save(path, compress_level=1)
        own: dict[str, object] = {"seed": secrets.randbelow(schema.MAX_SEED + 1)} if request.seed is None else {}
        if not request.image_url.startswith(("http://", "https://")):
            own["image_url"] = ""  # the bytes lie beside the job; rows and recipes stay small
        job = Job(
            job_id,
            request.model_copy(update=own),
            path,
            size,
            options.engine,
            options.where,
            None,
            options.prompt_in_file,
        )
        return self._queue(job, client, self._pool_of(options.where, options.engine), start_within_s, options.fal_key)

    def _queue(
        self,
        job: Job,
        client: Client,
        pool: str,
        start_within_s: float | None = None,
        fal_key: SecretStr | None = None,
    ) -> JobRecord:
        context = contextvars.copy_context()
        with self._mutex:  # others may have come while the picture was read
            try:
                self._refuse_if_full(client)
                owner_pays = job.where != "local" and fal_key is None
                row = self._store.add(job, client.id, pool, start_within_s, owner_pays=owner_pays)
                self._pay(job, pool, fal_key)
            except BackendError:
                job.picture.unlink(missing_ok=True)
                self._store.remove(job.id)
                raise
            record = JobRecord.from_row(row)
            record.context = context
            self._runner.add(record)
        return record

    def _pay(self, job: Job, pool: str, fal_key: SecretStr | None) -> None:
        """Settle who pays for a job that runs on fal, or may have to."""
        if job.where != "local" and fal_key is not None:
            self._require_budget().lend(job.id, fal_key)
        if pool == "fal":
            self._require_budget().reserve(job)

    def _require_budget(self) -> FalBudget:
        if self._budget is None:
            raise BackendError("engine_unavailable", "This server does not run jobs on fal.")
        return self._budget

    def _refuse_if_full(self, client: Client) -> None:
        refuse_if_full(list(self._runner.records.values()), client, self._limits, per_client=self._per_client)
        if shutil.disk_usage(self.data.root).free < self._limits.free_disk_bytes:
            raise BackendError("storage_full", "This server's disk is full. Try again later.", retry_after_s=600)
