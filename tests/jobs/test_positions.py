"""Positions are told at once when they are new, then at most once a second, and only where they changed."""

import pytest

from tests.support.jobs import a_job
from wan_core.events import Queued
from wan_core.jobs.positions import Positions
from wan_core.jobs.record import JobRecord


def waiting(count: int) -> list[JobRecord]:
    return [JobRecord(a_job(), "a", "local", float(number)) for number in range(count)]


def told(record: JobRecord) -> list[int]:
    return [event.position for event in record.events if isinstance(event, Queued)]


def test_a_new_job_is_told_its_place_at_once_and_nobody_is_told_twice() -> None:
    positions, (first, second) = Positions(), waiting(2)
    positions.settle([first], 10.0)
    positions.settle([first, second], 10.1)
    positions.settle([first, second], 99.0)
    assert (told(first), told(second)) == ([0], [1])


def test_ten_jobs_that_end_within_a_second_make_one_event_which_tells_the_last_place() -> None:
    positions, order = Positions(), waiting(11)
    last = order[-1]
    positions.settle(order, 0.0)
    for ended in range(1, 11):
        positions.settle(order[ended:], ended / 20)
        assert last.position == 10 - ended, "a poll is always told the truth"
    assert told(last) == [10]
    assert positions.tell_late(0.6) == pytest.approx(0.4) and told(last) == [10]
    assert positions.tell_late(1.0) is None and told(last) == [10, 0]


def test_after_a_second_a_change_is_told_at_once() -> None:
    positions, (first, second) = Positions(), waiting(2)
    positions.settle([first, second], 0.0)
    positions.settle([second], 1.5)
    assert told(second) == [1, 0]


def test_who_has_begun_or_ended_meanwhile_is_not_told_a_place() -> None:
    positions, (first, second, third) = Positions(), waiting(3)
    positions.settle([first, second, third], 0.0)
    positions.settle([second, third], 0.1)
    second.mark_running(1)
    positions.forget(third)
    assert positions.tell_late(2.0) is None
    assert (told(second), told(third)) == ([1], [2])


def test_what_keeps_all_from_beginning_is_logged_once_however_often_the_place_changes() -> None:
    positions, (first, second) = Positions(), waiting(2)
    positions.settle([first, second], 0.0, "The worker is away.")
    positions.settle([second], 9.0, "The worker is away.")
    positions.settle([second], 19.0, "The worker is broken.")
    assert [line.message for line in second.logs] == ["The worker is away.", "The worker is broken."]
