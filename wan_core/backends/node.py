"""What runs on a machine of a cluster: a worker process, and the files of its jobs. Knows no Ray.

Jobs and events are lines of `messages.py`, files are parcels. A folder that the app shares is used as it is; else the
files of a job lie in a folder of this worker's own and are removed with its end.
"""

import hashlib
import logging
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from wan_core import logs, settings
from wan_core.backends.local import LocalBackend
from wan_core.backends.messages import (
    Check,
    Expand,
    Expanded,
    Happened,
    Passed,
    Raised,
    Run,
    answer_line,
    read_command,
)
from wan_core.backends.parcels import Kind, Parcel, pack, unpack
from wan_core.errors import ENGINE_FAILED, BackendError, InputError, WanError, to_plain
from wan_core.events import Finished, Job, Preview
from wan_core.files import FileStore
from wan_core.profiles import detect, share_of_cores

log = logging.getLogger(__name__)

Item = str | Parcel


@dataclass(frozen=True)
class NodeReport:
    """`code`: see `code_digest`. `shares_folder`: no parcel needs to travel."""

    code: str
    card: str
    vram_bytes: int
    shares_folder: bool


class NodeWorker:
    """`token` is the text of the app's `FileStore.token`; `workers` share this machine's cores.

    `program`: see `LocalBackend`.
    """

    def __init__(self, token: str, workers: int, program: Sequence[str]) -> None:
        host = settings.load()
        logs.set_up(host.log_level)
        machine = detect(host)
        shares = _read(host.files.token) == token
        self._report = NodeReport(code_digest(), machine.card, machine.vram_bytes, shares)
        self._files = host.files if shares else _own_folder(host.files)
        environment = {"WAN_DATA_DIR": str(self._files.root), "WAN_CARDS_PER_CLIP": "1"} | share_of_cores(workers)
        self._backend = LocalBackend(host.limits, _no_limit, environment, program)  # the app knows each job's limit
        self._backend.start()

    def describe(self) -> NodeReport:
        return self._report

    def run(self, command: str, parcels: Sequence[Parcel]) -> Iterator[Item]:
        """Yield answers; files come before the event that tells of them. The last is `Finished` or `Raised`."""
        asked = read_command(command)
        assert isinstance(asked, Run)
        received: list[Path] = []
        try:
            received += [unpack(parcel, self._files) for parcel in parcels]
            yield from self._events(asked.job)
        except WanError as error:
            yield from self._send(asked.job, "frames")  # they may have been made before it failed
            yield answer_line(Raised(asked.job.id, to_plain(error)))
        except Exception:  # details go to the log only
            log.exception("job %s failed", asked.job.id)
            yield answer_line(Raised(asked.job.id, to_plain(BackendError("internal_server_error", ENGINE_FAILED))))
        finally:
            self._remove(asked.job, received)

    def cancel(self, job_id: str) -> None:
        self._backend.cancel(job_id)

    def answer(self, command: str, parcels: Sequence[Parcel]) -> str:
        """Answer a check or an expansion."""
        question = read_command(command)
        assert isinstance(question, Check | Expand)
        if parcels:  # under a name of its own: jobs and other questions may have the same picture here
            parcels = [replace(parcel, id=question.id) for parcel in parcels]
            question = replace(question, picture=question.id)
        received: list[Path] = []
        try:
            received += [unpack(parcel, self._files) for parcel in parcels]
            if isinstance(question, Check):
                self._backend.check(question.picture, question.prompt)
                return answer_line(Passed(question.id))
            return answer_line(Expanded(question.id, *self._backend.expand(question.picture, question.prompt)))
        except (InputError, BackendError) as error:
            return answer_line(Raised(question.id, to_plain(error)))
        finally:
            _unlink(received)

    def _events(self, job: Job) -> Iterator[Item]:
        for event in self._backend.run(job):
            if isinstance(event, Preview):
                yield from self._send(job, "preview")
            if isinstance(event, Finished):
                yield from self._send(job, "frames")
                yield from self._send(job, "clip")
            yield answer_line(Happened(job.id, event))

    def _send(self, job: Job, kind: Kind) -> Iterator[Parcel]:
        if not self._report.shares_folder:
            parcel = pack(self._files, kind, job.id)
            if parcel is not None:
                yield parcel

    def _remove(self, job: Job, received: Sequence[Path]) -> None:
        if not self._report.shares_folder:
            _unlink([*received, *self._files.of_job(job.id), *self._files.parts_of(job.id)])


@cache
def code_digest() -> str:
    """Of every source here: machines with other code are not used."""
    folder, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _own_folder(files: FileStore) -> FileStore:
    """Fresh, and without what dead processes of this machine have left; fetched weights are shared."""
    workers = files.root / "cluster"
    workers.mkdir(parents=True, exist_ok=True)
    for folder in workers.iterdir():
        if not Path("/proc", folder.name).exists() or folder.name == str(os.getpid()):
            shutil.rmtree(folder, ignore_errors=True)
    own, weights = workers / str(os.getpid()), files.root / "interpolation"
    own.mkdir(exist_ok=True)
    weights.mkdir(exist_ok=True)
    with suppress(FileExistsError):
        (own / weights.name).symlink_to(weights.resolve())
    return FileStore(own.resolve())


def _read(path: Path) -> str | None:
    with suppress(OSError):
        return path.read_text("ascii")
    return None


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _no_limit(job: Job) -> float:
    return math.inf
