"""Runs jobs on ZeroGPU, where the model lives in this process and the card is lent for the length of one call.

The one place that bends the rule that the web process has no torch: ZeroGPU packs what is on "cuda" when the app is
launched, so the engine is loaded before, and `spaces` is imported before anything that could touch CUDA. Only the
making of frames is inside the lent call; checks, expansion, the fallback and encoding stay outside. The visitor's token
travels in the context in which a job is submitted (`enter` makes one for HTTP requests).
"""

import json
import logging
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import spaces  # before torch: it takes CUDA's place

import gradio as gr  # isort: skip
from gradio.context import LocalContext
from PIL import Image
from starlette.requests import Request

from wan_core import estimate, expansion, generate, safety
from wan_core.engine import loading, sampling
from wan_core.errors import ENGINE_FAILED, BackendError, Cancelled, WanError, from_plain, to_plain
from wan_core.estimate import Calibration
from wan_core.events import Event, FramesMade, Job, Log, to_json
from wan_core.events import from_json as event_from_json
from wan_core.interpolation import Interpolation
from wan_core.profiles import EngineProfile, Machine, profiles
from wan_core.settings import Settings

log = logging.getLogger(__name__)

MACHINE = Machine(zero_gpu=True)
REASONS = {
    "ZeroGPU quota exceeded": "Your ZeroGPU quota does not cover this clip.",
    "ZeroGPU illegal duration": "This clip takes longer than ZeroGPU lends a card to you at once.",
    "ZeroGPU pending credits exceeded": "Your ZeroGPU credits are all taken by clips that run now.",
    "ZeroGPU queue timeout": "No ZeroGPU card was free within a minute.",
    "ZeroGPU client error": "ZeroGPU could not lend a card now.",
}
WAIT = frozenset({"ZeroGPU queue timeout", "ZeroGPU client error"})


class ZeroGpuBackend:
    """One engine, loaded when this is made; each job runs at once, in the context of its visitor."""

    def __init__(self, host: Settings, engine_name: str) -> None:
        self._host = host
        self._checks, self._expander = safety.checks(host), expansion.expander(host)
        self._stops: dict[str, threading.Event] = {}
        self._engine = loading.load(_with_loras(engine_name), host, lambda event: log.info("%s", event))
        self._on_gpu = spaces.GPU(duration=_duration)(self._lines)

    def start(self) -> None:
        """The engine was loaded when this was made."""

    def run(self, job: Job) -> Iterator[Event]:
        stop = self._stops.setdefault(job.id, threading.Event())
        make_frames = partial(self._make_frames, stop=stop)
        maker = generate.ClipMaker(make_frames, self._checks, self._expander, self._host.data, self._host.force_safety)
        try:
            yield from maker.run(job, stop.is_set)
        finally:
            del self._stops[job.id]

    def cancel(self, job_id: str) -> None:
        if job_id in self._stops:
            self._stops[job_id].set()

    def check(self, picture: Path, prompt: str) -> None:
        with Image.open(picture) as opened:
            self._checks.picture(opened.convert("RGB"))
        self._checks.prompt(prompt)

    def expand(self, picture: Path, prompt: str) -> tuple[str, str]:
        with Image.open(picture) as opened:
            written = self._expander.expand(opened.convert("RGB"), prompt)
        return written.prompt, written.note or ""

    def close(self) -> None:
        for stop in list(self._stops.values()):
            stop.set()

    def _make_frames(self, job: Job, prompt: str, between: Interpolation, stop: threading.Event) -> Iterator[Event]:
        if job.frames_of is not None and not between.is_network:
            yield FramesMade(self._host.data.frames(job.frames_of))
            return
        yield Log(f"Asking ZeroGPU for a card for {_duration(job.to_json())} s.")
        lines = self._on_gpu(job.to_json(), prompt, between)
        try:
            for line in lines:
                if stop.is_set():
                    raise Cancelled()
                yield _event(line)
        except gr.Error as error:
            raise _in_our_words(error, job) from None
        except RuntimeError as error:
            log.warning("job %s: %s", job.id, error)
            raise BackendError("engine_unavailable", "ZeroGPU did not answer as it should. Try again.") from None
        finally:
            lines.close()

    def _lines(self, job_text: str, prompt: str, between: Interpolation) -> Iterator[str]:
        """What runs where the card is: events as JSON, and an error as the last line, since only its name survives."""
        job = Job.from_json(job_text)
        try:
            for event in self._frames(job, prompt, between):
                yield to_json(event)
        except WanError as error:
            yield json.dumps({"error": to_plain(error)})
        except Exception:  # the model code may raise anything; the visitor gets a sentence, the log the rest
            log.exception("job %s failed on the card", job.id)
            yield json.dumps({"error": to_plain(BackendError("internal_server_error", ENGINE_FAILED))})

    def _frames(self, job: Job, prompt: str, between: Interpolation) -> Iterator[Event]:
        data = self._host.data
        raw = data.frames(job.frames_of or job.id)
        if job.frames_of is None:
            engine = self._engine.serving(profiles()[job.engine])
            if engine is None:
                raise BackendError("engine_unavailable", f"{profiles()[job.engine].title} is not loaded here.")
            yield from sampling.sample(engine, job, prompt, raw, _never, data.preview(job.id))
        if between.is_network:
            yield (yield from generate.insert(job, raw, between, data, _never))
        else:
            yield FramesMade(raw)


def enter(page: gr.Blocks, request: Request) -> None:
    """A job that this HTTP request submits runs on the quota of whoever sent it, as on the page."""
    LocalContext.request.set(gr.Request(request))
    LocalContext.blocks.set(page)


def _duration(job_text: str, *_: object) -> int:
    """Seconds to ask for: what a whole card needs for this job, with a margin."""
    job = Job.from_json(job_text)
    return estimate.of_job(job, MACHINE, Calibration()).zero_gpu_seconds


def _with_loras(engine_name: str) -> EngineProfile:
    """The profile to load: turbo's weights serve the full model too, but LoRAs cannot be added once packed."""
    return profiles()["a14b-turbo" if engine_name == "a14b" else engine_name]


def _event(line: str) -> Event:
    plain = json.loads(line)
    if "error" in plain:
        raise from_plain(plain["error"])
    return event_from_json(line)


def _in_our_words(error: gr.Error, job: Job) -> BackendError:
    """ZeroGPU's refusal as a plain sentence, with what would fit."""
    title = str(error.title)
    if title not in REASONS:
        return BackendError("worker_lost", "ZeroGPU took the card away before the clip was finished.")
    left = re.search(r"(\d+)s requested vs\. (\d+)s left\)\. Try again in ([\d:]+)", str(error.message))
    quota = f" It needs {left[1]} s, you have {left[2]} s left; more in {left[3]}." if left else ""
    advice = "Try again in a minute" if title in WAIT else f"Try {', '.join(_smaller(job))}"
    return BackendError("quota_exceeded", f"{REASONS[title]}{quota} {advice}, or run it on fal.")


def _smaller(job: Job) -> list[str]:
    """What would make this clip cheaper."""
    request, ways = job.request, []
    if request.num_frames > 49:
        ways.append("fewer frames")
    if request.resolution != "480p":
        ways.append("480p")
    if not profiles()[job.engine].turbo:
        ways.append("the turbo preset")
    return ways or ["again tomorrow"]


def _never() -> bool:
    """Inside the lent call a cancel arrives as the closing of the generator."""
    return False
