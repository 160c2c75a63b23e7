"""Making a clip: what is refused is refused before the model runs, and what could not be done is said."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.support.jobs import a_job, job_with_picture
from tests.support.mp4 import comment_in, decoded
from wan_core import encoding, frames, geometry, interpolation
from wan_core.clips import ClipMaker, ClipWorker, IsCancelled
from wan_core.engine.framing import frame_picture
from wan_core.engine.loading import Engine
from wan_core.engine.memory import Plan
from wan_core.errors import BackendError, InputError
from wan_core.estimator import Estimator
from wan_core.events import Event, Finished, FramesMade, Heartbeat, Job, JobOptions, Note, Stage, Step
from wan_core.expansion.expander import Expansion
from wan_core.files import FileStore
from wan_core.frames import Frame
from wan_core.geometry import Size
from wan_core.interpolation import InterpolationPlan
from wan_core.profiles import Machine, profiles
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings

SIZE = Size(208, 128)
CLIP = np.random.default_rng(0).integers(0, 255, (17, 64, 112, 3), np.uint8)  # half the size, as an engine may draw
REFUSED = InputError("prompt", "content_policy_violation", "The safety check refused the prompt.")


def test_another_engine_needs_a_fresh_process_and_the_same_weights_do_not(tmp_path: Path) -> None:
    """A card keeps what an engine took until its process ends, so that the next one's plan would be too small."""
    worker = ClipWorker(Settings(data_dir=tmp_path))
    names = ("a14b", "a14b-turbo", "a14b-turbo-motion", "miniature")
    for_engine = {name: replace(a_job(), options=JobOptions(name)) for name in names}
    assert not any(worker.needs_fresh_process(job) for job in for_engine.values())  # nothing is loaded yet
    plain = SimpleNamespace(transformer=None, transformer_2=None)
    worker._engine = Engine(profiles()["a14b"], plain)
    assert {name: worker.needs_fresh_process(job) for name, job in for_engine.items()} == {
        "a14b": False,
        "a14b-turbo": False,
        "a14b-turbo-motion": False,
        "miniature": True,
    }
    worker._engine.plan = Plan("fp8", "resident", False, 48)  # takes no LoRAs any more
    assert worker.needs_fresh_process(for_engine["a14b-turbo"])
    assert worker.needs_fresh_process(for_engine["a14b-turbo-motion"])
    assert not worker.needs_fresh_process(replace(for_engine["miniature"], frames_of="another"))


@dataclass
class Spy:
    """Engine, checks and expander in one: writes down who was called, in order, and does what it is told."""

    files: FileStore
    calls: list[str] = field(default_factory=list)
    refuse: str | None = None
    unavailable: str | None = None
    expansion: Expansion = field(default_factory=lambda: Expansion("rewritten"))

    def make_frames(self, job: Job, prompt: str, plan: InterpolationPlan, cancelled: IsCancelled) -> Iterator[Event]:
        self.calls.append(f"engine: {prompt}")
        if job.frames_of is None:
            frames.write(self.files.frames(job.id), [CLIP], len(CLIP))
        yield Step("sampling", 1, 1)
        yield FramesMade()

    def picture(self, picture: Image.Image) -> str | None:
        return self._check("picture")

    def prompt(self, text: str) -> str | None:
        return self._check(f"prompt: {text}")

    def frames(self, clip: Any) -> str | None:
        assert clip.shape == CLIP.shape
        return self._check("frames")

    def expand(self, picture: Image.Image, prompt: str) -> Expansion:
        self.calls.append("expand")
        return self.expansion

    def _check(self, what: str) -> str | None:
        self.calls.append(what)
        if what == self.refuse:
            raise REFUSED
        return self.unavailable


@pytest.fixture
def spy(data: FileStore) -> Spy:
    return Spy(data)


def small_job(files: FileStore, **values: Any) -> Job:
    """Its clip is encoded in an instant, and enlarged without its picture."""
    job = job_with_picture(files, **values)
    return replace(job, size=SIZE, options=replace(job.options, picture_detail=False))


def run(spy: Spy, *, forced: bool = False, **values: Any) -> list[Event]:
    return run_job(spy, small_job(spy.files, **values), forced=forced)


def run_job(spy: Spy, job: Job, *, forced: bool = False) -> list[Event]:
    maker = ClipMaker(spy.make_frames, spy, spy, spy.files, forced)  # type: ignore[arg-type]
    return [event for event in maker.run(job, lambda: False) if not isinstance(event, Heartbeat)]


def result(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def test_without_flags_nothing_is_checked_or_expanded(spy: Spy) -> None:
    events = run(spy)
    assert spy.calls == ["engine: a walk"]
    assert [event.name for event in events if isinstance(event, Stage)] == ["encoding"]


def test_everything_is_checked_in_the_order_that_saves_most(spy: Spy) -> None:
    switches = ("enable_safety_checker", "enable_output_safety_checker", "enable_prompt_expansion")
    events = run(spy, **dict.fromkeys(switches, True))
    assert spy.calls == ["picture", "prompt: a walk", "expand", "prompt: rewritten", "engine: rewritten", "frames"]
    assert result(events).result.prompt == "rewritten"


@pytest.mark.parametrize("refused", ["picture", "prompt: a walk", "prompt: rewritten"])
def test_the_engine_never_runs_after_a_refusal(spy: Spy, refused: str) -> None:
    spy.refuse = refused
    with pytest.raises(InputError) as caught:
        run(spy, enable_safety_checker=True, enable_prompt_expansion=True)
    assert caught.value is REFUSED
    assert not any(call.startswith("engine") for call in spy.calls)


def test_a_refused_result_leaves_no_clip(spy: Spy) -> None:
    spy.refuse = "frames"
    job = small_job(spy.files, enable_output_safety_checker=True)
    with pytest.raises(InputError):
        run_job(spy, job)
    assert not spy.files.clip(job.id).exists()


@pytest.mark.parametrize(
    ("switch", "calls"),
    [
        ("enable_safety_checker", ["picture", "prompt: a walk", "engine: a walk"]),
        ("enable_output_safety_checker", ["engine: a walk", "frames"]),
    ],
)
def test_what_goes_in_and_what_comes_out_are_checked_on_their_own_switches(
    spy: Spy, switch: str, calls: list[str]
) -> None:
    run(spy, **{switch: True})
    assert spy.calls == calls


def test_an_end_picture_is_checked_too_and_refused_at_its_own_field(spy: Spy) -> None:
    job = small_job(spy.files, enable_safety_checker=True)
    Image.new("RGB", (64, 64)).save(spy.files.picture("end"))
    job = replace(job, files=job.files | {"end_image_url": "end"})

    def refuse_black(picture: Image.Image) -> str | None:
        if picture.getbbox() is None:
            raise InputError("image_url", "content_policy_violation", "The safety check refused the picture.")
        return None

    spy.picture = refuse_black  # type: ignore[method-assign]
    with pytest.raises(InputError) as caught:
        run_job(spy, job)
    assert caught.value.field == "end_image_url"


def test_a_host_that_forces_safety_checks_requests_that_did_not_ask(spy: Spy) -> None:
    run(spy, forced=True)
    assert spy.calls == ["picture", "prompt: a walk", "engine: a walk", "frames"]


def test_a_check_that_could_not_be_made_is_told(spy: Spy) -> None:
    spy.unavailable = "It was not checked."
    events = run(spy, enable_safety_checker=True, enable_output_safety_checker=True)
    assert [event.message for event in events if isinstance(event, Note)] == ["It was not checked."] * 3


def test_a_prompt_that_could_not_be_expanded_is_used_as_it_is_and_the_reason_told(spy: Spy) -> None:
    spy.expansion = Expansion("a walk", "The prompt was not expanded.")
    events = run(spy, enable_prompt_expansion=True)
    assert spy.calls == ["expand", "engine: a walk"]
    assert Note("The prompt was not expanded.") in events


def test_the_clip_has_the_promised_frames_rate_and_size_and_carries_its_recipe(spy: Spy) -> None:
    job = small_job(spy.files, num_interpolated_frames=2, interpolator_model="none", frames_per_second=30)
    run_job(spy, job)
    clip = encoding.probe(spy.files.clip(job.id))
    assert (clip.frames, clip.fps, clip.size) == (17, 30, job.size)
    comment = comment_in(clip.path)
    assert '"prompt": "a walk"' in comment and job.id in comment


def test_the_prompt_stays_out_of_the_file_when_the_visitor_says_so(spy: Spy) -> None:
    job = small_job(spy.files)
    run_job(spy, replace(job, options=replace(job.options, prompt_in_file=False)))
    assert "a walk" not in comment_in(spy.files.clip(job.id))


@pytest.mark.slow
def test_where_the_networks_weights_cannot_be_had_the_fallback_delivers_and_it_is_said(
    spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "wan_core.interpolation.plan_interpolation", lambda *_, **__: InterpolationPlan("fallback", "No weights.")
    )
    job = small_job(spy.files, interpolator_model="film", num_interpolated_frames=1)
    maker = ClipMaker(spy.make_frames, spy, spy, spy.files, forced=False)  # type: ignore[arg-type]
    events: list[Event] = []
    for event in maker.run(job, lambda: False):
        events.append(event)
        if isinstance(event, Finished):
            break  # as the runner does
    assert Note("No weights.") in events
    assert [event.done for event in events if isinstance(event, Step) and event.stage == "interpolating"] == (
        list(range(1, 17))
    )
    assert result(events).result.frames == 33 and result(events).result.fps == 32
    assert not spy.files.interpolated_frames(job.id).exists(), "it is only kept until the clip is encoded"


@pytest.mark.slow
def test_the_host_decides_whether_film_may_run_on_a_cpu(
    data: FileStore, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def plan(*_: object, any_runs: bool) -> InterpolationPlan:
        asked.append(any_runs)
        return InterpolationPlan("none")

    monkeypatch.setattr("wan_core.interpolation.plan_interpolation", plan)
    monkeypatch.setattr("shutil.which", lambda tool: None)
    for host in (Settings(data_dir=data.root), Settings(data_dir=data.root, film_on_cpu=True)):
        worker = ClipWorker(host, make_frames=spy.make_frames)
        list(worker.run(small_job(data, num_interpolated_frames=1, interpolator_model="film"), lambda: False))
    assert asked == [False, True]


class ToyInput(ImageToVideoInput):
    """The request with one more word."""

    interpolator_model: Literal["none", "film", "rife", "toy"] = "toy"  # type: ignore[assignment]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An interpolator of a few lines: it repeats the left frame. It has no weights and no speed on a card."""
    module = ModuleType("wan_core.interpolation.toy")

    def load(weights: Path | None, device: str | None = None) -> interpolation.Interpolator:
        assert weights is None
        return lambda pairs, count: ([left] * count for left, _ in pairs)

    module.__dict__.update(TITLE="Toy", WEIGHTS=None, SECONDS_PER_PIXEL={"cpu": 2e-9}, load=load)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_new_interpolator_is_one_module_and_one_word(
    spy: Spy, toy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wan_core.interpolation.fetch", lambda *_, **__: pytest.fail("asked the hub"))
    assert interpolation.plan_interpolation("toy", 2, spy.files.root) == InterpolationPlan("toy")
    assert [interpolation.seconds_per_pixel("toy", kind) for kind in ("cpu", "cuda")] == [2e-9, 2e-9]
    job = job_with_picture(spy.files)
    request = ToyInput(**job.inputs.model_dump() | {"interpolator_model": "toy", "num_interpolated_frames": 2})
    job = replace(job, inputs=request)
    estimated = Estimator(Machine()).of_job(job).stages["interpolating"]
    assert estimated == pytest.approx(2e-9 * 256 * 128 * 32), "16 pairs at the miniature's 208×128, padded to 64"
    job = replace(job, size=SIZE, options=replace(job.options, picture_detail=False))
    events = run_job(spy, job)
    assert [event for event in events if isinstance(event, Note)] == []
    clip = encoding.probe(spy.files.clip(job.id))
    assert (clip.frames, clip.fps, clip.size) == (49, 48, job.size)
    assert '"interpolator_model": "toy"' in comment_in(clip.path)


def test_finishing_again_uses_the_kept_frames_and_checks_and_expands_nothing(spy: Spy) -> None:
    first = small_job(spy.files, enable_safety_checker=True, enable_prompt_expansion=True)
    run_job(spy, first)
    spy.calls.clear()
    again = a_job(frames_per_second=4, interpolator_model="none")
    again = replace(again, size=SIZE, files=first.files, frames_of=first.id)
    again = replace(again, inputs=again.inputs.model_copy(update={"enable_prompt_expansion": True}))
    finished = result(run_job(spy, again))
    assert spy.calls == ["engine: a walk"] and finished.result.fps == 4


def test_an_encoder_failure_keeps_the_frames(spy: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BackendError("storage_full", "The clip could not be written: the disk is full.")

    monkeypatch.setattr("wan_core.encoding.encode", fail)
    job = small_job(spy.files)
    with pytest.raises(BackendError):
        run_job(spy, job)
    assert spy.files.frames(job.id).is_file()


def still_clip(spy: Spy, **options: Any) -> Frame:
    """The first frame of a clip that the miniature left standing still, over a picture full of fine detail."""
    job = job_with_picture(spy.files, interpolator_model="none", video_quality="maximum")
    job = replace(job, size=Size(416, 256), options=replace(job.options, **options))
    noise = np.random.default_rng(1).integers(0, 255, (job.size.height, job.size.width, 3), np.uint8)
    picture = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(0.8))
    picture.save(spy.files.picture(job.picture))
    small = frame_picture(picture, job.size, geometry.rendered_size(job.size, 4))
    frames.write(spy.files.frames("drawn"), [np.stack([np.asarray(small)] * 17)], 17)
    run_job(spy, replace(job, frames_of="drawn"))
    return next(iter(decoded(spy.files.clip(job.id))))


def detail(frame: Frame) -> float:
    return float(np.abs(np.diff(frame.astype(float), axis=1)).mean())


def test_an_engine_that_draws_small_frames_takes_its_detail_from_the_picture_unless_told_otherwise(spy: Spy) -> None:
    guided, plain = still_clip(spy), still_clip(spy, picture_detail=False)
    with Image.open(next(iter(spy.files.root.glob("pictures/*.png")))) as picture:
        wanted = detail(np.asarray(picture))
    assert detail(guided) == pytest.approx(wanted, rel=0.15)
    assert detail(plain) < 0.5 * wanted
