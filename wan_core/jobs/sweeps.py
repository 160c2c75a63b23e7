"""Sweeps as groups of jobs: start, follow, cancel, run failed cells again, promote. Knows no page.

Cells lie in a JSON file beside the jobs, so that they outlive a restart.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr, TypeAdapter, ValidationError

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError, InputError
from wan_core.events import Failed, Finished, Group, JobOptions
from wan_core.explore.cells import Cell, CellState, Plan
from wan_core.explore.definition import Definition, to_text
from wan_core.explore.order import centre_first
from wan_core.files import FileStore, atomic_write
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService, Submission

log = logging.getLogger(__name__)

VERSION = 1
NO_CELL = "Every cell of this sweep is skipped or at fault; there is nothing to make."
SWEEP_GONE = "This sweep is no longer kept here."
COALESCE_S = 0.25
OVER = -1


@dataclass(frozen=True)
class SweepCell:
    """`job` is there if it was made; `settings`: by titles."""

    place: tuple[int, int, int]
    label: str
    state: CellState
    why: str = ""
    job: str | None = None
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """`axes`: title and labels of columns, rows and pages. `shared`: what all cells have, by field. `scouted`: the full
    values of what Scout changed.
    """

    id: str
    definition: Definition
    axes: tuple[tuple[str, tuple[str, ...]], ...]
    cells: tuple[SweepCell, ...]
    shared: dict[str, Any]
    scouted: dict[str, Any] = field(default_factory=dict)
    created_at: float = 0.0
    version: int = VERSION

    @property
    def job_ids(self) -> list[str]:
        return [cell.job for cell in self.cells if cell.job]


SWEEP: TypeAdapter[Sweep] = TypeAdapter(Sweep)


class SweepService:
    def __init__(self, jobs: JobService, files: FileStore) -> None:
        self.jobs = jobs
        self._files = files
        self._known: dict[str, Sweep] = {}

    async def start(
        self,
        plan: Plan,
        definition: Definition,
        base: Mapping[str, Any],
        options: JobOptions,
        client: Client,
        *,
        uploads: Mapping[str, Path] | None = None,
        fal_key: SecretStr | None = None,
    ) -> Sweep:
        """Accept the cells as one group, or none.

        Raises:
            InputError: nothing to make, or the picture cannot be used.
            BackendError: as `JobService.submit` does.
        """
        order = [index for index in centre_first(plan.cells, plan.shape) if plan.cells[index].state == "make"]
        if not order:
            raise InputError("explore", "missing", next((c.why for c in plan.cells if c.state == "fault"), NO_CELL))
        order.sort(key=lambda index: plan.cells[index].reuses is not None)  # frames before what reuses them
        at = {index: number for number, index in enumerate(order)}
        sweep_id, text = str(uuid.uuid4()), to_text(definition)
        submissions = [_submission(plan.cells[index], index, options, uploads or {}, base, at) for index in order]
        group = Group(sweep_id, 0, len(plan.cells), text)
        records = await self.jobs.submit_many(submissions, client, group=group, fal_key=fal_key)
        job_of = {index: record.job.id for index, record in zip(order, records, strict=True)}
        sweep = _sweep(sweep_id, plan, definition, base, job_of)
        await asyncio.to_thread(self._save, sweep)
        return sweep

    def get(self, sweep_id: str) -> Sweep | None:
        """`None` for no sweep's id, or no longer kept."""
        if sweep_id in self._known:
            return self._known[sweep_id]
        try:
            path = self._files.sweep(str(uuid.UUID(sweep_id)))
            sweep = SWEEP.validate_json(path.read_bytes())
        except (OSError, ValueError, ValidationError):
            return None
        if sweep.version > VERSION:
            log.error("sweep %s was written by a newer version of this app", sweep_id)
            return None
        self._known[sweep.id] = sweep
        return sweep

    def require(self, sweep_id: str) -> Sweep:
        """Raises BackendError if it is no longer kept."""
        sweep = self.get(sweep_id)
        if sweep is None:
            raise BackendError("frames_not_kept", SWEEP_GONE)
        return sweep

    def record(self, cell: SweepCell) -> JobRecord | None:
        return self.jobs.get(cell.job) if cell.job else None

    def cancel(self, sweep: Sweep) -> None:
        """Finished cells stay."""
        for record in map(self.record, reversed(sweep.cells)):
            if record is not None and record.job.group and record.job.group.id == sweep.id:
                self.jobs.cancel(record)

    def retry(self, sweep: Sweep, client: Client, fal_key: SecretStr | None) -> Sweep:
        """Run cells without a clip again. Raises as `JobService.submit` does."""
        lost = {
            cell.job: record for cell in sweep.cells if cell.job and (record := self.record(cell)) and _is_lost(record)
        }
        if not lost:
            return sweep
        again = self.jobs.make_again(list(lost.values()), client, fal_key)
        new = {old: record.job.id for old, record in zip(lost, again, strict=True)}
        cells = tuple(replace(cell, job=new.get(cell.job or "", cell.job)) for cell in sweep.cells)
        renewed = replace(sweep, cells=cells)
        self._save(renewed)
        return renewed

    def promote(self, sweep: Sweep, job_id: str, client: Client, fal_key: SecretStr | None) -> JobRecord:
        """Make a cell with the full settings.

        Raises:
            BackendError: the cell is not kept, or as `JobService.submit` does.
        """
        record = self.jobs.get(job_id)
        if record is None or job_id not in sweep.job_ids:
            raise BackendError("frames_not_kept", SWEEP_GONE)
        return self.jobs.make_with(record, sweep.scouted, client, fal_key)

    async def watch(self, sweep_id: str) -> AsyncIterator[list[int]]:
        """Indices of changed cells, first all; ends when every cell is over."""
        changed: asyncio.Queue[int] = asyncio.Queue()
        sweep = self.require(sweep_id)
        records = {index: self.record(cell) for index, cell in enumerate(sweep.cells)}
        tasks = [
            asyncio.create_task(self._report(index, record, changed))
            for index, record in records.items()
            if record is not None and not record.is_over
        ]
        try:
            yield list(records)
            left = len(tasks)
            while left:
                seen = [await changed.get()]
                await asyncio.sleep(COALESCE_S)
                while not changed.empty():
                    seen.append(changed.get_nowait())
                left -= seen.count(OVER)
                yield sorted({index for index in seen if index != OVER})
        finally:
            for task in tasks:
                task.cancel()

    async def _report(self, index: int, record: JobRecord, changed: "asyncio.Queue[int]") -> None:
        async for _ in self.jobs.watch(record):
            changed.put_nowait(index)
        changed.put_nowait(OVER)

    def _save(self, sweep: Sweep) -> None:
        with atomic_write(self._files.sweep(sweep.id)) as part:
            part.write_bytes(SWEEP.dump_json(sweep))
        self._known[sweep.id] = sweep

    def tidy(self, older_than_s: float) -> None:
        """Forgets old sweeps without a job."""
        for path in self._files.sweep("any").parent.glob("*.json"):
            sweep = self.get(path.stem)
            is_old = time.time() - path.stat().st_mtime > older_than_s
            if is_old and (sweep is None or not any(self.jobs.get(job) for job in sweep.job_ids)):
                path.unlink(missing_ok=True)
                self._known.pop(path.stem, None)


def _is_lost(record: JobRecord) -> bool:
    return record.is_over and not isinstance(record.outcome, Finished)


def _submission(
    cell: Cell,
    index: int,
    options: JobOptions,
    uploads: Mapping[str, Path],
    base: Mapping[str, Any],
    at: Mapping[int, int],
) -> Submission:
    assert cell.inputs is not None
    own = {name: path for name, path in uploads.items() if getattr(cell.inputs, name) == base.get(name)}
    reuses = None if cell.reuses is None else at[cell.reuses]
    return Submission(cell.inputs, replace(options, engine=cell.engine), own, position=index, reuses=reuses)


def _sweep(
    sweep_id: str, plan: Plan, definition: Definition, base: Mapping[str, Any], job_of: Mapping[int, str]
) -> Sweep:
    axes = tuple((axis.knob.title, tuple(value.text for value in axis.values)) for axis in plan.axes)
    cells = tuple(
        SweepCell(cell.place, cell.label, cell.state, cell.why, job_of.get(index), _settings(plan, cell))
        for index, cell in enumerate(plan.cells)
    )
    on_axes = {name for axis in plan.axes for name in axis.fields}
    pictures = set(IMAGE_TO_VIDEO.picture_fields)
    shared = {**base, **plan.scouted}
    shared = {name: shared[name] for name in IMAGE_TO_VIDEO.fields if name in shared and name not in on_axes | pictures}
    full = {name: base[name] for name in plan.scouted}
    return Sweep(sweep_id, definition, axes, cells, shared, full, time.time())


def _settings(plan: Plan, cell: Cell) -> dict[str, str]:
    return {axis.knob.title: axis.values[at].text for axis, at in zip(plan.axes, cell.place, strict=False)}


def status_of(record: JobRecord) -> str:
    """Of a failed cell; empty otherwise."""
    return record.outcome.message if isinstance(record.outcome, Failed) else ""
