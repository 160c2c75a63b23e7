"""Jobs of a group in one call: gathered, answered each for itself, shortened to what fits, and never left waiting."""

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tests.support.jobs import a_job
from wan_core.backends.group_calls import GATHER_AT_MOST_S, TURN, Ask, CallTooLong, GroupCalls
from wan_core.backends.messages import Happened, Raised
from wan_core.errors import BackendError, Cancelled, InputError, WanError, to_plain
from wan_core.events import Event, FramesMade, Group, Heartbeat, Log, Stage, Step
from wan_core.interpolation import InterpolationPlan

IDS = ("a", "b", "c", "d")
SECONDS = 10
REFUSAL = BackendError("quota_exceeded", "Your ZeroGPU quota does not cover this clip.")
Answers = Generator[Happened | Raised, None, None]


def ask(job_id: str, group: str = "grid") -> Ask:
    job = replace(a_job(), id=job_id, group=Group(group, IDS.index(job_id), len(IDS)))
    return Ask(job, job.inputs.prompt, InterpolationPlan("none"))


def seconds_of(asks: Sequence[Ask]) -> float:
    return 5 + SECONDS * len(asks)


class Lender:
    """Makes every clip, but for those whose answers are given. `limit_s`: refuses longer calls."""

    def __init__(self, limit_s: float = 1e9, left_s: float | None = None, **answers: WanError) -> None:
        self.calls: list[list[str]] = []
        self.limit_s, self.left_s, self.answers = limit_s, left_s, answers
        self.closed = threading.Event()

    def __call__(self, asks: Sequence[Ask]) -> Answers:
        self.calls.append([each.job.id for each in asks])
        if seconds_of(asks) > self.limit_s:
            raise CallTooLong(REFUSAL, self.left_s, "25 s of your ZeroGPU quota are left, more in 0:10:00.")
        try:
            for each in asks:
                error = self.answers.pop(each.job.id, None)
                yield Happened(each.job.id, Step("sampling", 1, 1))
                if error is not None and getattr(error, "type", "") == "worker_lost":
                    raise error
                yield Raised(each.job.id, to_plain(error)) if error else Happened(each.job.id, FramesMade())
        finally:
            self.closed.set()


def make_all(lender: Callable[[Sequence[Ask]], Answers], ids: Sequence[str] = IDS) -> dict[str, list[Event] | WanError]:
    """What comes of each, arriving in reverse."""
    calls = GroupCalls(lender, seconds_of, lambda: 0.0)

    def one(job_id: str) -> list[Event] | WanError:
        try:
            return list(calls.run(ask(job_id), lambda: ids, lambda: False))
        except WanError as error:
            return error

    with ThreadPoolExecutor(len(ids)) as threads:
        return dict(zip(ids, threads.map(one, ids), strict=True))


def messages(outcomes: dict[str, list[Event] | WanError]) -> dict[str, str]:
    return {job_id: each.message for job_id, each in outcomes.items() if isinstance(each, WanError)}


def test_all_jobs_of_a_group_share_one_call_in_their_order_and_each_gets_its_own_events() -> None:
    lender = Lender()
    outcomes = make_all(lender)
    assert lender.calls == [list(IDS)]
    for events in outcomes.values():
        assert isinstance(events, list)
        assert [type(event) for event in events if isinstance(event, Step | FramesMade)] == [Step, FramesMade]
        assert Log("Asking for a card for 45 s, for 4 clips.") in events


def test_a_job_that_cannot_be_made_fails_alone() -> None:
    lender = Lender(b=InputError("image_url", "image_load_error", "This picture is broken."))
    assert messages(make_all(lender)) == {"b": "This picture is broken."}
    assert lender.calls == [list(IDS)]


def test_where_the_card_is_taken_away_the_clip_in_the_making_fails_and_the_others_go_on() -> None:
    lender = Lender(b=BackendError("worker_lost", "Gone."))
    assert messages(make_all(lender)) == {"b": "Gone."}
    assert lender.calls == [["a", "b", "c", "d"], ["c", "d"]]


def test_a_call_is_shortened_to_the_quota_that_is_left_and_says_how_many_clips_fit() -> None:
    lender = Lender(limit_s=25, left_s=25)
    told = messages(make_all(lender))
    assert lender.calls == [["a", "b", "c", "d"], ["a", "b"]]
    assert set(told) == {"c", "d"}
    assert "25 s of your ZeroGPU quota are left, more in 0:10:00. 2 of these 4 clips fit." in told["c"]


def test_where_no_clip_fits_all_say_so_and_nothing_more_is_asked() -> None:
    lender = Lender(limit_s=3, left_s=3)
    told = messages(make_all(lender))
    assert set(told) == set(IDS) and "None of these 4 clips fit." in told["a"]
    assert len(lender.calls) == 1


def test_where_only_one_call_may_not_be_that_long_several_are_made() -> None:
    lender = Lender(limit_s=25)
    assert messages(make_all(lender)) == {}
    assert lender.calls == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"]]


def test_a_refusal_for_other_reasons_is_everybodys() -> None:
    def refuses(asks: Sequence[Ask]) -> Answers:
        raise BackendError("quota_exceeded", "No card was free.")
        yield

    assert messages(make_all(refuses)) == dict.fromkeys(IDS, "No card was free.")


def test_a_fault_of_the_call_leaves_nobody_waiting() -> None:
    def breaks(asks: Sequence[Ask]) -> Answers:
        yield Happened("a", FramesMade())
        raise ZeroDivisionError

    told = messages(make_all(breaks))
    assert set(told) == {"b", "c", "d"}


def test_a_late_one_is_not_waited_for_longer_than_a_token_lives() -> None:
    clock, lender = [0.0], Lender()
    calls = GroupCalls(lender, seconds_of, lambda: clock[0])
    events = calls.run(ask("a"), lambda: ["a", "b"], lambda: False)
    assert [next(events), next(events)] == [Stage("loading", TURN), Heartbeat()]
    assert lender.calls == []
    clock[0] = GATHER_AT_MOST_S
    list(events)
    assert lender.calls == [["a"]]


def test_a_job_that_needs_no_card_is_not_waited_for() -> None:
    lender = Lender()
    calls = GroupCalls(lender, seconds_of, lambda: 0.0)
    calls.passes("b")
    list(calls.run(ask("a"), lambda: ["a", "b"], lambda: False))
    assert lender.calls == [["a"]]


def test_where_one_of_two_is_cancelled_in_the_making_the_other_is_made_at_once() -> None:
    """The lent seconds are the visitor's: none is spent on frames that nobody takes."""
    making, stop, left = threading.Event(), threading.Event(), threading.Event()
    calls_of: list[list[str]] = []

    def makes(asks: Sequence[Ask]) -> Answers:
        calls_of.append([each.job.id for each in asks])
        for each in asks:
            for step in range(9):
                yield Happened(each.job.id, Step("sampling", step + 1, 9))
                making.set()
                assert left.wait(30)
            yield Happened(each.job.id, FramesMade())

    calls = GroupCalls(makes, seconds_of, lambda: 0.0)

    def one(job_id: str, cancelled: Callable[[], bool]) -> str:
        try:
            list(calls.run(ask(job_id), lambda: ["a", "b"], cancelled))
        except Cancelled:
            left.set()
            return "cancelled"
        return "made"

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(one, "a", stop.is_set), threads.submit(one, "b", lambda: False)
        assert making.wait(30)
        stop.set()
        assert (first.result(30), second.result(30)) == ("cancelled", "made")
    assert calls_of == [["a", "b"], ["b"]]


def test_one_that_leaves_before_it_waits_is_not_in_the_call() -> None:
    lender = Lender()
    calls = GroupCalls(lender, seconds_of, lambda: 0.0)
    leaver = calls.run(ask("a"), lambda: ["a", "b"], lambda: False)
    next(leaver)
    leaver.close()
    list(calls.run(ask("b"), lambda: ["b"], lambda: False))
    assert lender.calls == [["b"]]


def test_when_all_are_cancelled_the_card_is_given_back() -> None:
    going, lender = threading.Event(), Lender()
    stop = threading.Event()

    def waits(asks: Sequence[Ask]) -> Answers:
        try:
            while True:
                yield Happened("a", Step("sampling", 1, 9))
                going.set()
                stop.wait(0.01)
        finally:
            lender.closed.set()

    calls = GroupCalls(waits, seconds_of, lambda: 0.0)

    def one(job_id: str) -> str:
        try:
            list(calls.run(ask(job_id), lambda: ["a", "b"], stop.is_set))
        except Cancelled:
            return "cancelled"
        return "made"

    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(one, job_id) for job_id in ("a", "b")]
        assert going.wait(30)
        stop.set()
        assert [each.result(30) for each in both] == ["cancelled"] * 2
    assert lender.closed.wait(30)
