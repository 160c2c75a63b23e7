"""`none` stays plain diffusers whatever ran before; each part of `regular` does its work and can be switched off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline

from tests.engine.conftest import MakeJob, plain_call
from wan_core.engine import acceleration
from wan_core.engine.acceleration import (
    NATIVE,
    Acceleration,
    attention_candidates,
    best_attention,
    compile_blocks,
    compile_works,
    detect_acceleration,
    disable_cache,
    probe,
)
from wan_core.engine.loading import Engine
from wan_core.engine.sampling import FAST_FAILED, NATIVE_AGAIN, sample
from wan_core.errors import BackendError
from wan_core.events import Event, Job, Log, Note
from wan_core.files import FileStore
from wan_core.settings import Settings

CPU = torch.device("cpu")


def run(engine: Engine, job: Job, folder: Path) -> tuple[np.ndarray, list[Event]]:
    events = list(sample(engine, job, job.inputs.prompt, FileStore(folder), lambda: False))
    return np.load(FileStore(folder).frames("job")), events


def blocks_that_run(expert: Any) -> list[int]:
    """A list that grows by one whenever a block's feed-forward really runs."""
    calls: list[int] = []
    for block in expert.blocks:
        block.ffn.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


@pytest.fixture
def cached(engine: Engine) -> Engine:
    """An engine whose step cache hits often: its thresholds are large."""
    engine.acceleration.thresholds = (0.5, 0.5)
    return engine


def test_none_after_regular_is_still_the_plain_call(cached: Engine, job: MakeJob, tmp_path: Path) -> None:
    regular, none = (job(num_inference_steps=18, acceleration=word) for word in ("regular", "none"))
    accelerated, _ = run(cached, regular, tmp_path)
    plain, _ = run(cached, none, tmp_path)
    assert np.array_equal(plain, plain_call(cached.pipe, none, tmp_path))
    assert not np.array_equal(plain, accelerated)


def test_the_step_cache_skips_blocks_of_both_experts_and_only_in_long_runs(
    cached: Engine, job: MakeJob, tmp_path: Path
) -> None:
    high, low = blocks_that_run(cached.pipe.transformer), blocks_that_run(cached.pipe.transformer_2)

    def counted(steps: int, word: str) -> tuple[int, int]:
        high.clear(), low.clear()
        run(cached, job(num_inference_steps=steps, acceleration=word, guidance_scale=1, guidance_scale_2=1), tmp_path)
        return len(high), len(low)

    plain, skipped = counted(18, "none"), counted(18, "regular")
    assert skipped[0] < plain[0] and skipped[1] < plain[1]
    assert counted(15, "regular") == counted(15, "none")


def test_never_more_than_two_steps_in_a_row_are_skipped(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    engine.acceleration.thresholds = (1e9, 1e9)
    high = blocks_that_run(engine.pipe.transformer)
    low = blocks_that_run(engine.pipe.transformer_2)
    asked = job(num_inference_steps=18, acceleration="regular", guidance_scale=1, guidance_scale_2=1, shift=5.0)
    run(engine, asked, tmp_path)
    whole = 6 + 1  # every third step, and the first of the low-noise expert
    assert len(high) + len(low) == whole * 2 + (18 - whole)


def test_a_cancelled_run_leaves_nothing_in_the_cache(cached: Engine, job: MakeJob, tmp_path: Path) -> None:
    asked = job(num_inference_steps=18, acceleration="regular")
    before, _ = run(cached, asked, tmp_path)
    broken = sample(
        cached, job(num_inference_steps=40, acceleration="regular"), "a cat", FileStore(tmp_path), lambda: False
    )
    for _ in range(8):
        next(broken)
    broken.close()
    assert np.array_equal(run(cached, asked, tmp_path)[0], before)


def test_the_last_quarter_goes_without_guidance(
    engine: Engine, job: MakeJob, tmp_path: Path, forwards: Callable[[Any], list[str]]
) -> None:
    calls = forwards(engine.pipe)
    run(engine, job(num_inference_steps=8, acceleration="regular"), tmp_path)
    assert len(calls) == 6 * 2 + 2


def test_with_every_switch_off_regular_is_none(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    off = Settings(accelerate_cache=False, accelerate_guidance=False, accelerate_attention=False)
    engine.acceleration = Acceleration(off)
    regular, _ = run(engine, job(num_inference_steps=18, acceleration="regular"), tmp_path)
    plain, _ = run(engine, job(num_inference_steps=18), tmp_path)
    assert np.array_equal(regular, plain)


def test_the_log_names_the_parts(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    engine.acceleration.attention = "_native_math"
    _, events = run(engine, job(num_inference_steps=18, acceleration="regular"), tmp_path)
    said = "Acceleration regular: _native_math attention, step cache (0.04 and 0.1), no guidance in the last quarter"
    assert any(isinstance(event, Log) and event.message.startswith(said) for event in events)


def spoil(expert: Any, backend: str) -> None:
    """Makes `expert` give NaN whenever that attention is on, as a broken kernel does."""

    def broken(module: Any, _: object, output: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
        on = module.blocks[0].attn1.processor._attention_backend.value == backend
        return (output[0] * float("nan"),) if on else None

    expert.register_forward_hook(broken)


def test_a_broken_kernel_is_replaced_by_native_attention_once_and_said(
    engine: Engine, job: MakeJob, tmp_path: Path
) -> None:
    spoil(engine.pipe.transformer_2, "_native_math")
    engine.acceleration = Acceleration(Settings(accelerate_guidance=False), attention="_native_math")
    frames, events = run(engine, job(acceleration="regular"), tmp_path)
    assert np.array_equal(frames, run(engine, job(), tmp_path)[0])
    assert [event for event in events if isinstance(event, Note)] == [Note(NATIVE_AGAIN)]
    assert engine.acceleration.attention == NATIVE


def test_native_attention_that_fails_is_not_tried_twice(
    engine: Engine, job: MakeJob, tmp_path: Path, forwards: Callable[[Any], list[str]]
) -> None:
    spoil(engine.pipe.transformer, NATIVE)
    calls = forwards(engine.pipe)
    with pytest.raises(BackendError):
        run(engine, job(acceleration="regular"), tmp_path)
    assert len(calls) == 2


def crash(expert: Any, backend: str, error: Exception) -> None:
    """Makes `expert` fail in the middle of a run whenever that attention is on, as a kernel does that meets a shape it
    does not know.
    """

    def broken(module: Any, _: object) -> None:
        if module.blocks[0].attn1.processor._attention_backend.value == backend:
            raise error

    expert.register_forward_pre_hook(broken)


def test_a_kernel_that_fails_midway_is_replaced_by_native_attention_once_and_said(
    engine: Engine, job: MakeJob, tmp_path: Path
) -> None:
    crash(engine.pipe.transformer_2, "_native_math", RuntimeError("no kernel image is available"))
    engine.acceleration = Acceleration(Settings(accelerate_guidance=False), attention="_native_math")
    frames, events = run(engine, job(acceleration="regular"), tmp_path)
    assert np.array_equal(frames, run(engine, job(), tmp_path)[0])
    assert [event for event in events if isinstance(event, Note)] == [Note(FAST_FAILED)]
    assert Log("_native_math attention failed (RuntimeError).", "WARN") in events
    assert engine.acceleration.attention == NATIVE
    assert not any(isinstance(event, Note) for event in run(engine, job(acceleration="regular"), tmp_path)[1])


def test_native_attention_that_crashes_is_not_tried_twice(
    engine: Engine, job: MakeJob, tmp_path: Path, forwards: Callable[[Any], list[str]]
) -> None:
    calls = forwards(engine.pipe)
    crash(engine.pipe.transformer, NATIVE, RuntimeError("device-side assert"))
    for word in ("regular", "none"):
        calls.clear()
        with pytest.raises(RuntimeError, match="device-side"):
            run(engine, job(acceleration=word), tmp_path)
        assert len(calls) == 1


def test_memory_that_runs_out_is_not_blamed_on_attention(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    crash(engine.pipe.transformer, "_native_math", torch.OutOfMemoryError())
    engine.acceleration.attention = "_native_math"
    with pytest.raises(BackendError) as error:
        run(engine, job(acceleration="regular"), tmp_path)
    assert error.value.type == "out_of_memory" and engine.acceleration.attention == "_native_math"


def test_probing_measures_backends_that_agree_and_refuses_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe("_native_math", CPU, (1, 64, 2, 16)) > 0
    told: list[Event] = []

    def measured(name: str, device: torch.device) -> float:
        if name == "_native_cudnn":
            raise ArithmeticError
        return {NATIVE: 2.0, "_flash_3_hub": 1.0}[name]

    monkeypatch.setattr(acceleration, "probe", measured)
    monkeypatch.setattr(acceleration, "attention_candidates", lambda sm: [NATIVE, "_native_cudnn", "_flash_3_hub"])
    assert best_attention(90, CPU, told.append) == "_flash_3_hub"
    assert "_native_cudnn attention does not serve here (ArithmeticError)." in [
        e.message for e in told if isinstance(e, Log)
    ]


def test_hoppers_attention_is_never_tried_on_blackwell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "find_spec", lambda name: object())
    assert "_flash_3_hub" in attention_candidates(90)
    assert attention_candidates(120) == [NATIVE, "_native_cudnn"]


def test_without_a_card_nothing_is_probed_and_nothing_compiled(pipe: WanImageToVideoPipeline) -> None:
    assert detect_acceleration(pipe, Settings(), CPU, 0, True, [].append) == Acceleration(Settings())


def test_on_zero_gpu_attention_is_tried_at_the_first_clip_and_nothing_compiled(
    pipe: WanImageToVideoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "best_attention", lambda *_: "_native_cudnn")
    host = Settings(SPACES_ZERO_GPU=True)
    here = detect_acceleration(pipe, host, torch.device("cuda"), 120, True, [].append)
    assert (here.attention, here.compiles) == (None, False)
    here.try_attention(120, torch.device("cuda"), [].append)
    assert here.attention == "_native_cudnn"


class Graphs:
    """A compiler that only counts the graphs it is given."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        self.count += 1
        return graph.forward


@pytest.fixture
def graphs() -> Any:
    torch.compiler.reset()
    yield Graphs()
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore")  # torch's own, while it traces
def test_one_graph_serves_all_blocks_both_experts_and_other_sizes_also_under_the_cache(
    cached: Engine, job: MakeJob, tmp_path: Path, graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "compile_blocks", lambda expert, on: compile_blocks(expert, on, backend=graphs))
    eager, _ = run(cached, job(num_inference_steps=18, acceleration="regular"), tmp_path)
    cached.acceleration.compiles = True
    for frames in (17, 21):
        run(cached, job(num_inference_steps=18, num_frames=frames, acceleration="regular"), tmp_path)
    compiled, _ = run(cached, job(num_inference_steps=18, acceleration="regular"), tmp_path)
    assert abs(compiled.astype(int) - eager).max() <= 1
    assert 1 <= graphs.count <= 2
    before = graphs.count
    asked = job()
    assert np.array_equal(run(cached, asked, tmp_path)[0], plain_call(cached.pipe, asked, tmp_path))
    assert graphs.count == before


def test_compiling_that_fails_is_said_and_left_off(
    pipe: WanImageToVideoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", refuse)
    told: list[Event] = []
    assert compile_works(pipe.transformer, CPU, told.append) is False
    assert told == [Log("Compiling does not serve here (RuntimeError).", "WARN")]
    disable_cache(pipe.transformer)
