"""The link to a Ray cluster, a process of its own: `python -m wan_core.backends.ray`. Only here is Ray imported.

Ray ends the process that loses its cluster, so the web process has none of it. One actor for each card of each living
machine (or for each unit of the resource `wan`, where there is no card); machines that join later get theirs. An actor
has one job at a time; its items come as a streaming generator.
"""

import logging
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

import ray
from ray.exceptions import ActorDiedError, GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from wan_core import logs, settings
from wan_core.backends.command_server import CommandServer, take_stdout
from wan_core.backends.messages import (
    Cancel,
    Check,
    ClusterState,
    Command,
    Expand,
    Run,
    Watch,
    command_line,
    read_answer,
)
from wan_core.backends.node import Item, NodeReport, NodeWorker, code_digest
from wan_core.backends.parcels import Parcel, pack, pack_inputs, unpack
from wan_core.errors import BackendError, Cancelled
from wan_core.events import Job
from wan_core.files import FileStore, atomic_write
from wan_core.settings import Settings

log = logging.getLogger(__name__)

RESOURCE = "wan"  # `ray start --resources='{"wan": 1}'` offers a machine without a card
PARALLEL_CALLS = 8  # a job, and questions and cancels beside it
LOOK_S = 1.0
CONNECT_S = 10.0
LOST = "The machine that made the clip was lost."
SILENT = "The machine that made the clip fell silent."


@dataclass(eq=False)
class Seat:
    """An actor. `asked`: its report on the way; `report`: `None` while it is starting."""

    node_id: str
    actor: Any
    asked: Any
    report: NodeReport | None = None
    busy: bool = False

    @property
    def is_fit(self) -> bool:
        """Whether it can take jobs: it has started, and its code is ours."""
        return self.report is not None and self.report.code == code_digest()

    def ask(self) -> None:
        self.report, self.asked = None, self.actor.describe.remote()


class Fleet:
    """The actors of the cluster; `token` and `program` as in `NodeWorker`."""

    def __init__(self, token: str, program: Sequence[str]) -> None:
        self._token = token
        self._program = program
        self._seats: list[Seat] = []
        self._changed = threading.Condition()

    def look(self) -> None:
        """See which machines there are; give new ones their actors, and forget those of machines that are gone."""
        alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
        with self._changed:
            self._seats = [seat for seat in self._seats if seat.node_id in alive]
            for node_id, resources in alive.items():
                missing = slots(resources) - sum(seat.node_id == node_id for seat in self._seats)
                self._seats += [self._start(node_id, resources) for _ in range(missing)]
            self._seats = [seat for seat in self._seats if self._is_there(seat)]
            self._changed.notify_all()

    def state(self, question_id: str) -> ClusterState:
        with self._changed:
            reports = [seat.report for seat in self._seats if seat.report is not None and seat.is_fit]
        smallest = min(reports, key=lambda report: report.vram_bytes, default=None)
        if smallest is None:
            return ClusterState(question_id, 0)
        return ClusterState(question_id, len(reports), smallest.card, smallest.vram_bytes)

    @contextmanager
    def take(self, given_up: Callable[[], bool]) -> Iterator[Seat]:
        """The actor that ended last, for it has its model loaded. Raises Cancelled once `given_up()` is true."""
        with self._changed:
            while (seat := self._idle()) is None:
                if given_up():
                    raise Cancelled()
                self._changed.wait(LOOK_S)
            seat.busy = True
        try:
            yield seat
        finally:
            with self._changed:
                seat.busy = False
                if seat in self._seats:
                    self._seats.remove(seat)
                    self._seats.append(seat)
                self._changed.notify_all()

    def any_seat(self) -> Seat | None:
        """For a question: an idle one if there is any."""
        with self._changed:
            return self._idle() or next((seat for seat in self._seats if seat.is_fit), None)

    def _idle(self) -> Seat | None:
        return next((seat for seat in reversed(self._seats) if seat.is_fit and not seat.busy), None)

    def _start(self, node_id: str, resources: dict[str, float]) -> Seat:
        log.info("a worker is started on %s", node_id)
        options = {
            "num_cpus": 0,
            "max_restarts": -1,
            "max_concurrency": PARALLEL_CALLS,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False),
        }
        needs = {"num_gpus": 1} if resources.get("GPU") else {"resources": {RESOURCE: 1}}
        actor = ray.remote(NodeWorker).options(**options, **needs).remote(self._token, slots(resources), self._program)
        return Seat(node_id, actor, actor.describe.remote())

    def _is_there(self, seat: Seat) -> bool:
        """Take its report if it has come. `False` if its actor is dead for good: the next look starts another."""
        if seat.report is not None or not ray.wait([seat.asked], timeout=0)[0]:
            return True
        try:
            seat.report = ray.get(seat.asked)
        except ActorDiedError:
            return False
        except RayError:
            seat.ask()
        if seat.report is not None and not seat.is_fit:
            log.error("a machine of the cluster has another version of this app and is not used: %s", seat.node_id)
        return True


def slots(resources: dict[str, float]) -> int:
    """How many clips a machine makes at the same time."""
    return int(resources.get("GPU", 0)) or int(resources.get(RESOURCE, 0))


class Bridge(CommandServer):
    """`messages.py` on one side, actors on the other. Files of jobs are written here."""

    def __init__(self, host: Settings, program: Sequence[str], commands: IO[str], answers: IO[str]) -> None:
        super().__init__(commands, answers)
        self._files = host.files
        self._limits = host.limits
        self._fleet = Fleet(_token(host.files), program)
        self._cancelled: set[str] = set()
        self._running: dict[str, Seat] = {}

    def serve(self) -> None:
        self.listen(self._obey)

    def _obey(self, command: Command) -> None:
        match command:
            case Run(job):
                self.work_beside(job.id, lambda: self._run(job))
            case Cancel(job_id):
                self._cancelled.add(job_id)
                seat = self._running.get(job_id)
                if seat is not None:
                    seat.actor.cancel.remote(job_id)
            case Check() | Expand():
                self.work_beside(command.id, lambda: self._ask(command))
            case Watch(question_id):
                self.work_beside(question_id, lambda: self._watch(question_id))

    def _watch(self, question_id: str) -> None:
        while True:
            self._fleet.look()
            self.send(self._fleet.state(question_id))
            time.sleep(LOOK_S)

    def _run(self, job: Job) -> None:
        try:
            with self._fleet.take(lambda: job.id in self._cancelled) as seat:
                self._running[job.id] = seat
                items = self._items(seat, job)
                for item in items:
                    try:
                        self._pass_on(item)
                    except Exception:
                        self._stop(seat, job, items)
                        raise
        finally:
            self._running.pop(job.id, None)
            self._cancelled.discard(job.id)

    def _stop(self, seat: Seat, job: Job, items: Iterator[Item]) -> None:
        """Return when the actor is free for another job."""
        self._obey(Cancel(job.id))
        with suppress(BackendError):
            for _ in items:
                pass

    def _items(self, seat: Seat, job: Job) -> Iterator[Item]:
        """Raises BackendError `worker_lost`: the machine died or fell silent; its actor must report anew."""
        assert seat.report is not None
        parcels = [] if seat.report.shares_folder else pack_inputs(job, self._files)
        try:
            items = seat.actor.run.options(num_returns="streaming").remote(command_line(Run(job)), parcels)
            while True:
                if not ray.wait([items], timeout=self._limits.heartbeat_timeout_s)[0]:
                    ray.kill(seat.actor, no_restart=False)
                    seat.ask()
                    raise BackendError("worker_lost", SILENT)
                try:
                    yield ray.get(next(items), timeout=self._limits.heartbeat_timeout_s)
                except StopIteration:
                    return
                if job.id in self._cancelled:
                    seat.actor.cancel.remote(job.id)  # again: the first may have come before the job
        except RayError as error:
            log.warning("job %s: %s", job.id, type(error).__name__)
            seat.ask()
            raise BackendError("worker_lost", LOST) from error

    def _pass_on(self, item: Item) -> None:
        if isinstance(item, Parcel):
            unpack(item, self._files)
        else:
            self.send(read_answer(item))

    def _ask(self, question: Check | Expand) -> None:
        seat = self._fleet.any_seat()
        if seat is None or seat.report is None:
            raise BackendError("engine_unavailable", "No machine of the cluster can answer now. Try again.")
        parcel = None if seat.report.shares_folder else pack(self._files, "picture", question.picture)
        asked = seat.actor.answer.remote(command_line(question), [parcel] if parcel else [])
        try:
            self.send(read_answer(ray.get(asked, timeout=self._limits.question_s)))
        except GetTimeoutError:
            raise BackendError("engine_unavailable", "No answer came in time. Try again.") from None
        except RayError as error:
            raise BackendError("worker_lost", LOST) from error


def _token(files: FileStore) -> str:
    """The text of `files.token`, written if there is none."""
    if not files.token.is_file():
        files.root.mkdir(parents=True, exist_ok=True)
        with atomic_write(files.token) as part:
            part.write_text(str(uuid.uuid4()), "ascii")
    return files.token.read_text("ascii")


def connect(address: str) -> None:
    """Raises SystemExit if nothing listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), CONNECT_S):
            pass
    except (OSError, ValueError):
        raise SystemExit(f"No Ray cluster listens at {address!r} (WAN_RAY_ADDRESS, host:port).") from None
    ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False)


def main(program: Sequence[str]) -> None:
    """`program`: the workers' on the machines, as arguments of Python; this app's own if empty."""
    host = settings.load()
    logs.set_up(host.log_level)
    answers = take_stdout()
    assert host.ray_address, "the app starts this process only with WAN_RAY_ADDRESS"
    try:
        connect(host.ray_address)
    except (RayError, ConnectionError, RuntimeError, ValueError):
        log.exception("the cluster cannot be joined")
        os._exit(1)
    Bridge(host, program, sys.stdin, answers).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
