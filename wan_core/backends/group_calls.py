"""Several jobs of a group in one call: the first waits for the others, and each gets the events of its own frames.

Knows no GPU and no ZeroGPU: `lend` makes frames, `seconds_of` says for how long it would ask.
"""

import contextvars
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from wan_core.backends.messages import Happened, Raised
from wan_core.errors import ENGINE_FAILED, BackendError, Cancelled, WanError, from_plain
from wan_core.events import Event, FramesMade, Heartbeat, Job, Log, Stage
from wan_core.interpolation import InterpolationPlan

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
GATHER_AT_MOST_S = 60.0  # a visitor's ZeroGPU token lives for about three minutes
TURN = "Waiting for its turn on the card."
NO_ANSWER = "The card was taken away before the clip was finished."
ADVICE = "Run the failed ones again when there is more, with fewer frames, or on fal."


@dataclass(frozen=True)
class Ask:
    """The frames of a job that are wanted."""

    job: Job
    prompt: str
    plan: InterpolationPlan


class CallTooLong(Exception):
    """Nothing was lent. `error`: what to say of a single job. `left_s`: what would be lent, as declared, and `quota`: a
    sentence about it; `None` where only the length of one call is limited.
    """

    def __init__(self, error: BackendError, left_s: float | None = None, quota: str = "") -> None:
        super().__init__(error.message)
        self.error = error
        self.left_s = left_s
        self.quota = quota


Lend = Callable[[Sequence[Ask]], Generator[Happened | Raised, None, None]]
"""The answers to all, one job after the other. Raises CallTooLong, or BackendError `worker_lost` in mid-call."""
Coming = Callable[[], Sequence[str]]
"""Ids of the group's jobs that run or are about to, in their order."""


@dataclass(eq=False)
class _Member:
    ask: Ask
    arrived: float
    answers: "SimpleQueue[Event | WanError]" = field(default_factory=SimpleQueue)
    left: bool = False
    over: bool = False

    def tell(self, answer: Event | WanError) -> None:
        self.over |= isinstance(answer, FramesMade | WanError)
        self.answers.put(answer)


class GroupCalls:
    """Thread-safe: each job's thread calls `run`, the answers come from a thread of the call."""

    def __init__(self, lend: Lend, seconds_of: Callable[[Sequence[Ask]], float], now: Callable[[], float]) -> None:
        self._lend = lend
        self._seconds_of = seconds_of
        self._now = now
        self._mutex = threading.Lock()
        self._gathering: dict[str, list[_Member]] = {}
        self._passed: set[str] = set()

    def run(self, ask: Ask, coming: Coming, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """The events of one job, until its frames are made.

        Raises:
            WanError: what its making raised; `quota_exceeded` where the call had no room for it.
            Cancelled: `cancelled()` became true.
        """
        assert ask.job.group is not None
        member = _Member(ask, self._now())
        with self._mutex:
            self._gathering.setdefault(ask.job.group.id, []).append(member)
        try:
            yield Stage("loading", TURN)
            yield from self._answers(member, coming, cancelled)
        finally:
            member.left = True

    def passes(self, job_id: str) -> None:
        """The job needs no call, or not any more: nobody waits for it."""
        with self._mutex:
            self._passed.add(job_id)

    def forget(self, job_id: str) -> None:
        """The job's run has ended; if it runs again, others wait for it."""
        with self._mutex:
            self._passed.discard(job_id)

    def _answers(self, member: _Member, coming: Coming, cancelled: Callable[[], bool]) -> Iterator[Event]:
        while True:
            if cancelled():
                raise Cancelled
            self._begin_if_all_are_here(member, coming)
            try:
                answer = member.answers.get(timeout=LOOK_EVERY_S)
            except Empty:
                yield Heartbeat()
                continue
            if isinstance(answer, WanError):
                raise answer
            yield answer
            if isinstance(answer, FramesMade):
                return

    def _begin_if_all_are_here(self, member: _Member, coming: Coming) -> None:
        assert member.ask.job.group is not None
        group = member.ask.job.group.id
        if member not in self._gathering.get(group, ()):
            return
        order = coming()
        with self._mutex:
            here = [each for each in self._gathering.get(group, ()) if not each.left]
            awaited = set(order) - {each.ask.job.id for each in here} - self._passed
            oldest = min((each.arrived for each in here), default=self._now())
            if member not in here or (awaited and self._now() - oldest < GATHER_AT_MOST_S):
                return
            del self._gathering[group]
            self._passed |= {each.ask.job.id for each in here}
        here.sort(key=lambda each: order.index(each.ask.job.id) if each.ask.job.id in order else len(order))
        context = contextvars.copy_context()  # the visitor's: the call is on their quota
        threading.Thread(target=context.run, args=(self._make_all, here), name=f"call-{group}", daemon=True).start()

    def _make_all(self, members: list[_Member]) -> None:
        """In one call if it is granted, else in several."""
        try:
            at_once = len(members)
            while waiting := [each for each in members if not (each.over or each.left)]:
                at_once = self._make(waiting[:at_once], len(members))
        except Exception:  # nobody may wait for ever; details go to the log only
            log.exception("a call for %d jobs failed", len(members))
            _fail(members, BackendError("internal_server_error", ENGINE_FAILED))

    def _make(self, members: list[_Member], asked_for: int) -> int:
        """One call. Each ends at least one job, or says how many fewer the next one is for."""
        try:
            self._call(members)
        except CallTooLong as refused:
            return self._shorten(members, refused, asked_for)
        except BackendError as error:
            _fail(members, error)
        return len(members)

    def _call(self, members: list[_Member]) -> None:
        by_id = {each.ask.job.id: each for each in members}
        seconds = self._seconds_of([each.ask for each in members])
        for each in members:
            each.tell(Log(f"Asking for a card for {seconds:g} s, for {len(members)} clips."))
        answers = self._lend([each.ask for each in members])
        try:
            for answer in answers:
                if by_id[answer.id].left:
                    return  # its frames would be made for nobody; the others' are asked for anew
                by_id[answer.id].tell(from_plain(answer.error) if isinstance(answer, Raised) else answer.event)
        except BackendError as error:
            if error.type != "worker_lost":
                raise
            _fail([each for each in members if not each.over][:1], error)  # the one in the making; the others go on
            return
        finally:
            answers.close()
        _fail(members, BackendError("worker_lost", NO_ANSWER))

    def _shorten(self, members: list[_Member], refused: CallTooLong, asked_for: int) -> int:
        """How many the next call is for; where the quota covers no more, the others fail with a sentence."""
        if len(members) == 1:
            _fail(members, refused.error)
            return 1
        if refused.left_s is None:
            return len(members) // 2
        asks = [each.ask for each in members]
        fits = next((n for n in range(len(asks) - 1, 0, -1) if self._seconds_of(asks[:n]) <= refused.left_s), 0)
        sentence = f"{refused.quota} {fits or 'None'} of these {asked_for} clips fit{'s' if fits == 1 else ''}."
        _fail(members[fits:], BackendError("quota_exceeded", f"{sentence} {ADVICE}"))
        for each in members[:fits]:
            each.tell(Log(sentence))
        return max(1, fits)


def _fail(members: Sequence[_Member], error: BackendError) -> None:
    """Those that are not over."""
    for each in members:
        if not each.over:
            each.tell(error)
