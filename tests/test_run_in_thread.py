"""Work in a thread, seen from the generator that follows it."""

import threading
from itertools import count

import pytest

from wan_core.errors import BackendError, Cancelled
from wan_core.events import Heartbeat, Log
from wan_core.run_in_thread import Emit, run_in_thread


def never() -> bool:
    return False


def work_for_ever(emit: Emit) -> None:
    for number in count():
        emit(Log(str(number)))


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("engine")]


def test_events_arrive_in_order() -> None:
    def work(emit: Emit) -> None:
        for word in "abc":
            emit(Log(word))

    assert list(run_in_thread(work, never)) == [Log("a"), Log("b"), Log("c")]


def test_what_the_work_raises_is_raised_after_its_last_event() -> None:
    def work(emit: Emit) -> None:
        emit(Log("a"))
        raise BackendError("out_of_memory", "full")

    events = run_in_thread(work, never)
    assert next(events) == Log("a")
    with pytest.raises(BackendError, match="full"):
        next(events)


def test_a_closed_generator_leaves_no_thread() -> None:
    events = run_in_thread(work_for_ever, never)
    next(events)
    assert alive()
    events.close()
    assert alive() == []


def test_cancelling_ends_in_cancelled_and_leaves_no_thread() -> None:
    stop = threading.Event()
    events = run_in_thread(work_for_ever, stop.is_set)
    next(events)
    stop.set()
    with pytest.raises(Cancelled):
        list(events)
    assert alive() == []


def test_silence_is_filled_with_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_core.run_in_thread.HEARTBEAT_S", 0.01)
    heard = threading.Event()

    def work(emit: Emit) -> None:
        heard.wait(5)
        emit(Log("done"))

    events = run_in_thread(work, never)
    assert next(events) == Heartbeat()
    heard.set()
    assert [event for event in events if event != Heartbeat()] == [Log("done")]
