"""Both step caches on a real pipeline: what they skip, that they leave nothing behind, and how near they stay."""

import logging
from pathlib import Path

import numpy as np
import pytest
from diffusers import WanTransformer3DModel

from tests.engine.conftest import MakeJob, plain_call
from tests.engine.test_acceleration import blocks_that_run, run
from wan_core.engine import acceleration, step_cache
from wan_core.engine.acceleration import Acceleration
from wan_core.engine.loading import Engine
from wan_core.engine.sampling import prepare_scheduler, sample
from wan_core.engine.step_cache import CacheDit
from wan_core.events import Event, Log
from wan_core.files import FileStore
from wan_core.settings import Settings, StepCacheName

NAMES: tuple[StepCacheName, ...] = ("first-block", "cache-dit")


@pytest.fixture(params=NAMES)
def cached(request: pytest.FixtureRequest, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose step cache hits often: its thresholds are large."""
    if request.param == "cache-dit":
        pytest.importorskip("cache_dit")
        monkeypatch.setattr(acceleration, "CacheDit", lambda: CacheDit(threshold=0.5))
    engine.acceleration = Acceleration(Settings(step_cache=request.param), thresholds=(0.5, 0.5))
    return engine


@pytest.mark.slow
def test_some_steps_of_both_experts_are_skipped_and_none_is_plain_again(
    cached: Engine, job: MakeJob, tmp_path: Path
) -> None:
    """Also after a run that was broken off, and where guidance ends in the middle of the low-noise expert's steps."""
    regular, none = (job(num_inference_steps=18, acceleration=word) for word in ("regular", "none"))
    high, low = blocks_that_run(cached.pipe.transformer), blocks_that_run(cached.pipe.transformer_2)
    first, events = run(cached, regular, tmp_path)
    steps = prepare_scheduler(cached.pipe, regular.inputs)
    assert len(high) < 2 * 2 * steps.high_noise_steps and len(low) < 2 * (2 * steps.low_noise_steps - 4)
    assert any("step cache" in event.message for event in events if isinstance(event, Log))
    broken = sample(cached, regular, "a cat turns left", FileStore(tmp_path), lambda: False)
    for _ in range(8):
        next(broken)
    broken.close()
    assert np.array_equal(run(cached, regular, tmp_path)[0], first)
    assert np.array_equal(run(cached, none, tmp_path)[0], plain_call(cached.pipe, none, tmp_path))


@pytest.mark.slow
def test_never_more_than_two_steps_in_a_row_are_skipped(
    cached: Engine, job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "CacheDit", lambda: CacheDit(threshold=1e9))
    cached.acceleration.thresholds = (1e9, 1e9)
    whole: list[bool] = []
    for expert in (cached.pipe.transformer, cached.pipe.transformer_2):
        expert.register_forward_pre_hook(lambda *_: whole.append(False))
        expert.blocks[-1].ffn.register_forward_pre_hook(lambda *_: whole.__setitem__(-1, True))
    asked = job(num_inference_steps=30, acceleration="regular", guidance_scale=1, guidance_scale_2=1, shift=5.0)
    run(cached, asked, tmp_path)
    longest = max(len(skips) for skips in "".join("#" if each else "-" for each in whole).split("#"))
    assert len(whole) == 30 and longest == 2


@pytest.mark.slow
def test_the_passes_of_a_guided_step_are_kept_apart_where_guidance_ends(
    cached: Engine, job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unguided pass of the prompt would be compared with that of the negative prompt, or reuse it."""
    monkeypatch.setattr(acceleration, "CacheDit", lambda: CacheDit(threshold=1e-9))
    cached.acceleration.thresholds = (1e-9, 1e-9)  # nothing is ever near enough
    cached.acceleration.settings = cached.acceleration.settings.model_copy(update={"accelerate_guidance": True})
    asked = job(num_inference_steps=18, acceleration="regular", negative_prompt="blurry")
    made, _ = run(cached, asked, tmp_path)
    cached.acceleration.caches = False
    assert np.array_equal(run(cached, asked, tmp_path)[0], made)


@pytest.mark.slow
def test_both_caches_stay_near_the_clip_without_one(
    cached: Engine, job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong reuse would be as far as another seed."""
    cached.acceleration.thresholds = (0.2, 0.2)
    monkeypatch.setattr(acceleration, "CacheDit", lambda: CacheDit(threshold=0.2))
    asked = job(num_inference_steps=18, acceleration="regular")
    with_cache, other_seed = (
        run(cached, asked, tmp_path)[0],
        run(cached, job(num_inference_steps=18, seed=8), tmp_path)[0],
    )
    cached.acceleration.caches = False
    without = run(cached, asked, tmp_path)[0].astype(int)
    off, seed_off = (abs(clip.astype(int) - without).mean() for clip in (with_cache, other_seed))
    assert 0 < off < 0.75 * seed_off, f"{off:.2f} and {seed_off:.2f} grey levels"


@pytest.mark.slow
def test_cache_dit_tells_nothing_but_errors_and_those_on_stderr(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cache_dit")
    CacheDit().put_on(engine.pipe.transformer, high_noise=True, guided=[True] * 18)
    step_cache.take_off(engine.pipe.transformer)
    assert capsys.readouterr() == ("", "")
    logging.getLogger("cache_dit.ray.wrapper").error("it is told")
    told = capsys.readouterr()
    assert told.out == "" and told.err.endswith("ERROR cache_dit.ray.wrapper: it is told\n")


@pytest.mark.slow
def test_cache_dit_keeps_no_more_than_is_counted(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    """Two hidden states of the video in each of two passes; the planner counts three. The high-noise expert's are gone
    when the low-noise one begins."""
    pytest.importorskip("cache_dit")
    engine.acceleration = Acceleration(Settings(step_cache="cache-dit"))
    kept: list[int] = []

    def look(expert: WanTransformer3DModel, *_: object) -> None:
        manager = getattr(expert, "_context_manager", None)
        contexts = list(manager._cached_context_manager.values()) if manager else []
        kept.append(max((sum("encoder" not in name for name in each.buffers) for each in contexts), default=0))

    high = engine.pipe.transformer
    high.register_forward_pre_hook(look)
    engine.pipe.transformer_2.register_forward_pre_hook(lambda *_: look(high))
    asked = job(num_inference_steps=18, acceleration="regular")
    run(engine, asked, tmp_path)
    passes = 2 * prepare_scheduler(engine.pipe, asked.inputs).high_noise_steps
    assert max(kept[:passes]) <= 4 and set(kept[passes:]) == {0}


def test_without_the_package_the_default_runs_and_the_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_cache, "has_cache_dit", lambda: False)
    told: list[Event] = []
    assert step_cache.available("cache-dit", told.append) == "first-block"
    assert told == [Log(step_cache.CACHE_DIT_ABSENT, "WARN")]
    monkeypatch.setattr(step_cache, "has_cache_dit", lambda: True)
    assert step_cache.available("cache-dit", told.append) == "cache-dit" and len(told) == 1
