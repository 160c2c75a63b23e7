"""A job over the cluster's link: how long it may take, and what is heard of it after it was told to stop."""

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tests.support.jobs import NO_FLOOR, a_job
from wan_core.backends import cluster
from wan_core.backends.cluster import TOO_LONG, ClusterBackend
from wan_core.backends.local import CANCEL_PATIENCE_S, next_answer
from wan_core.backends.messages import Answer, Happened, Raised, Run
from wan_core.errors import BackendError, Cancelled, to_plain
from wan_core.events import Event, Finished, Result, Stage, Step

JOB = a_job()
FINISHED = Finished(Result("a walk", 1, JOB.size, 17, 16, "miniature"))
STOPPED = Cancelled()
LIMIT_S = 100.0


class Link:
    """`answers`: after how many seconds each comes; `closed_at`: when nobody listens any more."""

    def __init__(self, *answers: tuple[float, Event | Cancelled | BackendError]) -> None:
        self.now, self.cancelled_at, self.closed_at = 0.0, -1.0, -1.0
        self._answers = list(answers)

    @contextmanager
    def conversation(self, question_id: str, command: Run) -> Iterator["Link"]:
        try:
            yield self
        finally:
            self.closed_at = self.now

    def get(self, timeout: float | None) -> Answer:
        at, what = self._answers[0] if self._answers else (float("inf"), STOPPED)
        if timeout is not None and self.now + timeout < at:
            self.now += timeout
            raise queue.Empty
        self.now = at
        del self._answers[0]
        return Raised(JOB.id, to_plain(what)) if isinstance(what, Cancelled | BackendError) else Happened(JOB.id, what)

    def pass_on_cancel(self, job_id: str) -> bool:
        self.cancelled_at = self.now
        return True


def run(monkeypatch: pytest.MonkeyPatch, link: Link) -> Sequence[Event]:
    monkeypatch.setattr(cluster, "time", SimpleNamespace(monotonic=lambda: link.now))
    backend = ClusterBackend(SimpleNamespace(link=link), NO_FLOOR, lambda job: LIMIT_S)  # type: ignore[arg-type]
    return list(backend.run(JOB))


def test_a_job_may_wait_for_a_machine_longer_than_it_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link((5 * LIMIT_S, Stage("loading")), (5.9 * LIMIT_S, FINISHED))
    assert run(monkeypatch, link) == [Stage("loading"), FINISHED]
    assert link.cancelled_at == -1


@pytest.mark.parametrize("end", [STOPPED, BackendError("worker_lost", "The worker process died.")])
def test_a_job_that_takes_too_long_is_heard_out_so_that_its_machine_is_free_when_the_next_attempt_begins(
    monkeypatch: pytest.MonkeyPatch, end: Cancelled | BackendError
) -> None:
    link = Link((0, Stage("loading")), (1, Step("sampling", 1, 9)), (120, Step("sampling", 2, 9)), (140, end))
    with pytest.raises(BackendError, match=TOO_LONG) as error:
        run(monkeypatch, link)
    assert error.value.type == "worker_lost"
    assert (link.cancelled_at, link.closed_at) == (LIMIT_S, 140)


def test_a_clip_that_is_finished_while_it_is_told_to_stop_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, Link((0, Stage("loading")), (LIMIT_S + 1, FINISHED)))[-1] is FINISHED


def test_a_machine_that_does_not_stop_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link((0, Stage("loading")))
    with pytest.raises(BackendError, match=TOO_LONG):
        run(monkeypatch, link)
    assert link.closed_at == LIMIT_S + 2 * CANCEL_PATIENCE_S


def test_an_answer_is_awaited_without_end_only_where_no_time_is_set() -> None:
    with pytest.raises(queue.Empty):
        next_answer(queue.Queue(), -1)
    answers: queue.Queue[Answer | None] = queue.Queue()
    answers.put(Happened(JOB.id, FINISHED))
    assert next_answer(answers, float("inf")) == Happened(JOB.id, FINISHED)
