"""Run jobs on ZeroGPU: the model lives in this process, the GPU is lent for one call that only makes frames.

Trap: ZeroGPU packs what is on "cuda" when the app launches, so the engine is loaded before. Only here does the web
process import torch. The visitor's token travels in the job's context.
"""

import logging
import re
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import spaces  # before torch: it patches CUDA

import gradio as gr  # isort: skip
from gradio.context import LocalContext
from starlette.requests import Request

from wan_core.backends.group_calls import Ask, CallTooLong, Coming, GroupCalls
from wan_core.backends.messages import Happened, Raised, answer_line, read_answer
from wan_core.clips import ClipWorker, IsCancelled, needs_card
from wan_core.engine import loading
from wan_core.engine.sampling import check_lent_memory
from wan_core.errors import ENGINE_FAILED, BackendError, Cancelled, WanError, from_plain, to_plain
from wan_core.estimator import Estimator
from wan_core.events import JOB, Event, Job, Log
from wan_core.interpolation import InterpolationPlan
from wan_core.profiles import EngineProfile, Machine, profiles
from wan_core.settings import Settings

log = logging.getLogger(__name__)

ESTIMATOR = Estimator(Machine(zero_gpu=True))
REASONS = {
    "ZeroGPU quota exceeded": "Your ZeroGPU quota does not cover this clip.",
    "ZeroGPU illegal duration": "This clip takes longer than ZeroGPU lends a card to you at once.",
    "ZeroGPU pending credits exceeded": "Your ZeroGPU credits are all taken by clips that run now.",
    "ZeroGPU queue timeout": "No ZeroGPU card was free within a minute.",
    "ZeroGPU client error": "ZeroGPU could not lend a card now.",
}
TOO_LONG = "ZeroGPU illegal duration"
WAIT = frozenset({"ZeroGPU queue timeout", "ZeroGPU client error"})


class ZeroGpuBackend:
    """Loads its engine when made. Each job runs at once, in its visitor's context; those of a group share a call."""

    def __init__(self, host: Settings, engine_name: str) -> None:
        self._engine = loading.load(_with_loras(engine_name), host, lambda event: log.info("%s", event))
        self._worker = ClipWorker(host, self._engine, self._make_alone)
        self._stops: dict[str, threading.Event] = {}
        self._on_gpu = spaces.GPU(duration=_duration)(self._lines)
        self._calls = GroupCalls(self._lend, _seconds_of, time.monotonic)

    def start(self) -> None:
        """Nothing to do: the engine is loaded."""

    def run(self, job: Job) -> Iterator[Event]:
        with self._stop_of(job) as stop:
            yield from self._worker.run(job, stop.is_set)

    def run_in_group(self, job: Job, coming: Coming) -> Iterator[Event]:
        """As `run`; the weights of all the group's clips are paid once."""
        with self._stop_of(job) as stop:
            try:
                yield from self._worker.run(job, stop.is_set, partial(self._make_together, coming=coming))
            finally:
                self._calls.forget(job.id)

    def cancel(self, job_id: str) -> None:
        if job_id in self._stops:
            self._stops[job_id].set()

    def check(self, picture: str, prompt: str) -> None:
        self._worker.check(picture, prompt)

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        written = self._worker.expand(picture, prompt)
        return written.prompt, written.note or ""

    def close(self) -> None:
        for stop in list(self._stops.values()):
            stop.set()

    @contextmanager
    def _stop_of(self, job: Job) -> Iterator[threading.Event]:
        stop = self._stops.setdefault(job.id, threading.Event())
        try:
            yield stop
        finally:
            del self._stops[job.id]

    def _make_alone(self, job: Job, prompt: str, plan: InterpolationPlan, cancelled: IsCancelled) -> Iterator[Event]:
        """Ask for a GPU only if a model runs."""
        if not needs_card(job, plan):
            yield from self._worker.make_frames(job, prompt, plan, cancelled)
            return
        self._refuse_without_memory(job)
        ask = Ask(job, prompt, plan)
        yield Log(f"Asking ZeroGPU for a card for {_seconds_of([ask])} s.")
        answers = self._lend([ask])
        try:
            for answer in answers:
                if cancelled():
                    raise Cancelled()
                if isinstance(answer, Raised):
                    raise from_plain(answer.error)
                yield answer.event
        except CallTooLong as refused:
            raise refused.error from None
        finally:
            answers.close()

    def _make_together(
        self, job: Job, prompt: str, plan: InterpolationPlan, cancelled: IsCancelled, coming: Coming
    ) -> Iterator[Event]:
        if not needs_card(job, plan):
            self._calls.passes(job.id)
            yield from self._worker.make_frames(job, prompt, plan, cancelled)
            return
        self._refuse_without_memory(job)
        yield from self._calls.run(Ask(job, prompt, plan), coming, cancelled)

    def _refuse_without_memory(self, job: Job) -> None:
        if job.frames_of is None:
            check_lent_memory(self._engine, job)

    def _lend(self, asks: Sequence[Ask]) -> Generator[Happened | Raised, None, None]:
        """See `group_calls.Lend`."""
        lines = self._on_gpu([(JOB.dump_json(ask.job).decode(), ask.prompt, ask.plan) for ask in asks])
        try:
            for line in lines:
                yield _answer(line)
        except gr.Error as error:
            raise _in_our_words(error, asks) from None
        except RuntimeError as error:
            log.warning("job %s: %s", asks[0].job.id, error)
            raise BackendError("engine_unavailable", "ZeroGPU did not answer as it should. Try again.") from None
        finally:
            lines.close()

    def _lines(self, asks: Sequence[tuple[str, str, InterpolationPlan]]) -> Iterator[str]:
        """Sends an error as a job's last line: an exception would lose all but its class name."""
        for job_text, prompt, plan in asks:
            job = JOB.validate_json(job_text)
            try:
                for event in self._worker.make_frames(job, prompt, plan, _never):
                    yield answer_line(Happened(job.id, event))
            except WanError as error:
                yield answer_line(Raised(job.id, to_plain(error)))
            except Exception:  # model code may raise anything; details go to the log only
                log.exception("job %s failed on the card", job.id)
                yield answer_line(Raised(job.id, to_plain(BackendError("internal_server_error", ENGINE_FAILED))))


def enter(page: gr.Blocks, request: Request) -> None:
    """Run this request's jobs on its sender's quota."""
    LocalContext.request.set(gr.Request(request))
    LocalContext.blocks.set(page)


def _duration(asks: Sequence[tuple[str, str, InterpolationPlan]]) -> int:
    """Seconds to declare."""
    return ESTIMATOR.zero_gpu_seconds(JOB.validate_json(job_text) for job_text, _, _ in asks)


def _seconds_of(asks: Sequence[Ask]) -> int:
    return ESTIMATOR.zero_gpu_seconds(ask.job for ask in asks)


def _with_loras(engine_name: str) -> EngineProfile:
    """A profile of the same weights with LoRAs: none can be added once packed."""
    wanted = profiles()[engine_name]
    return next((each for each in profiles().values() if each.lightning and each.has_weights_of(wanted)), wanted)


def _answer(line: str) -> Happened | Raised:
    answer = read_answer(line)
    if not isinstance(answer, Happened | Raised):
        raise RuntimeError(f"no answer to a job: {line:.200}")
    return answer


def _in_our_words(error: gr.Error, asks: Sequence[Ask]) -> BackendError | CallTooLong:
    title = str(error.title)
    if title not in REASONS:
        return BackendError("worker_lost", "ZeroGPU took the card away before the clip was finished.")
    left = re.search(r"(\d+)s requested vs\. (\d+)s left\)\. Try again in ([\d:]+)", str(error.message))
    quota = f" It needs {left[1]} s, you have {left[2]} s left; more in {left[3]}." if left else ""
    advice = "Try again in a minute" if title in WAIT else f"Try {', '.join(_smaller(asks[0].job))}"
    refusal = BackendError("quota_exceeded", f"{REASONS[title]}{quota} {advice}, or run it on fal.")
    if title == TOO_LONG:
        return CallTooLong(refusal)
    if left is None:
        return refusal
    declared_left_s = _seconds_of(asks) * int(left[2]) / max(1, int(left[1]))  # both count the card's factor
    return CallTooLong(refusal, declared_left_s, f"{left[2]} s of your ZeroGPU quota are left, more in {left[3]}.")


def _smaller(job: Job) -> list[str]:
    request, ways = job.inputs, []
    if request.num_frames > 49:
        ways.append("fewer frames")
    if request.resolution != "480p":
        ways.append("480p")
    if profiles()[job.options.engine].lightning != "both experts":
        ways.append("the turbo preset")
    return ways or ["again tomorrow"]


def _never() -> bool:
    """Closing the generator cancels."""
    return False
