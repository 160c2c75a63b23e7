"""`none` stays plain diffusers whatever ran before; each part of `regular` does its work and can be switched off."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanTransformer3DModel
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName
from torch._dynamo import config as dynamo_config

from tests.engine.conftest import MakeJob, plain_call
from wan_core.engine import acceleration
from wan_core.engine.acceleration import (
    NATIVE,
    Acceleration,
    Probed,
    attention_candidates,
    best_attention,
    compile_blocks,
    compile_works,
    detect_acceleration,
    probe,
)
from wan_core.engine.loading import Engine
from wan_core.engine.sampling import FAILED_MIDWAY, INVALID_NUMBERS, prepare_scheduler, sample
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


@pytest.mark.slow
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


def test_the_high_noise_experts_cache_is_empty_when_the_low_noise_expert_begins(
    cached: Engine, job: MakeJob, tmp_path: Path
) -> None:
    """At A14B's size it holds 4.3 GiB for 81 frames at 720p: an 80 GB card has no room for two of them."""
    kept: list[int] = []

    def look(*_: object) -> None:
        hook = cached.pipe.transformer.blocks[0]._diffusers_hook.get_hook("fbc_leader_block_hook")
        kept.append(len(hook.state_manager._state_cache))

    cached.pipe.transformer.register_forward_hook(look)
    cached.pipe.transformer_2.register_forward_pre_hook(look)
    asked = job(num_inference_steps=17, acceleration="regular", shift=5.0)
    run(cached, asked, tmp_path)
    high = 2 * prepare_scheduler(cached.pipe, asked.inputs).high_noise_steps
    assert max(kept[:high]) == 2 and set(kept[high:]) == {0}


def test_without_room_for_the_step_cache_none_is_put_on(engine: Engine, job: MakeJob) -> None:
    asked = job(num_inference_steps=18, acceleration="regular")
    for room in (True, False):
        schedule = prepare_scheduler(engine.pipe, asked.inputs)
        _, said = engine.acceleration.prepare(engine.pipe, asked.inputs, schedule, may_cache=room)
        assert engine.pipe.transformer.is_cache_enabled is room
        assert ("step cache" in said) is room


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


@pytest.mark.slow
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
    assert [event for event in events if isinstance(event, Note)] == [
        Note(INVALID_NUMBERS.format(part="fast attention"))
    ]
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
    assert [event for event in events if isinstance(event, Note)] == [Note(FAILED_MIDWAY.format(part="fast attention"))]
    assert Log("The fast attention failed (RuntimeError).", "WARN") in events
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


def test_probing_measures_backends_and_their_distance_from_fp32() -> None:
    before = attention_dispatch._AttentionBackendRegistry.get_active_backend()
    found = [probe(name, CPU, (1, 64, 2, 16)) for name in (NATIVE, "_native_math")]
    assert all(each.seconds > 0 and 0 < each.difference < 0.01 for each in found)
    assert attention_dispatch._AttentionBackendRegistry.get_active_backend() == before


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Probed | Exception]], tuple[str, list[str]]]:
    """`probed(results)` is what is chosen where each attention's probe gives these, and what is said."""

    def choose(results: dict[str, Probed | Exception]) -> tuple[str, list[str]]:
        def measured(name: str, device: torch.device) -> Probed:
            result = results[name]
            if isinstance(result, Exception):
                raise result
            return result

        told: list[Event] = []
        monkeypatch.setattr(acceleration, "probe", measured)
        return best_attention(list(results), CPU, told.append), [
            event.message for event in told if isinstance(event, Log)
        ]

    return choose


Choose = Callable[[dict[str, Probed | Exception]], tuple[str, list[str]]]
PLAIN = Probed(2.0, 0.003)


@pytest.mark.parametrize(
    "error", [TypeError("'NoneType'"), KeyError("x"), AssertionError(), ArithmeticError()], ids=repr
)
def test_an_attention_whose_probe_raises_anything_is_not_here_and_the_fastest_other_wins(
    probed: Choose, error: Exception
) -> None:
    chosen, said = probed({NATIVE: PLAIN, "_native_cudnn": error, "_flash_3_hub": Probed(1.0, 0.003)})
    assert chosen == "_flash_3_hub"
    assert f"_native_cudnn attention does not serve here ({type(error).__name__})." in said


def test_an_attention_that_is_off_is_refused_and_quantized_ones_may_be_off_a_little(probed: Choose) -> None:
    assert probed({NATIVE: PLAIN, "_native_cudnn": Probed(1.0, 0.03)})[0] == NATIVE
    chosen, said = probed({NATIVE: PLAIN, "sage_hub": Probed(1.0, 0.03), "sage_blackwell_hub": Probed(0.5, 0.09)})
    assert chosen == "sage_hub"
    assert "sage_hub 1000.0 ms, off by 3.0%" in said[-1] and "sage_blackwell_hub 500.0 ms, off by 9.0%" in said[-1]


def test_where_no_probe_works_it_is_the_native_attention(probed: Choose) -> None:
    assert probed({NATIVE: RuntimeError(), "_flash_3_hub": RuntimeError()})[0] == NATIVE


def test_a_kernel_of_the_hub_is_fetched_before_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Hopper with `kernels` installed; the kernel is a plain attention, and the check for a card is left out."""

    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: object) -> torch.Tensor:
        heads_first = [tensor.transpose(1, 2) for tensor in (q, k, v)]
        return torch.nn.functional.scaled_dot_product_attention(*heads_first).transpose(1, 2)

    def fetch(backend: AttentionBackendName) -> None:
        attention_dispatch._HUB_KERNELS_REGISTRY[backend].kernel_fn = kernel

    name = AttentionBackendName.SAGE_HUB
    monkeypatch.setattr(attention_dispatch, "_check_attention_backend_requirements", lambda backend: None)
    monkeypatch.setattr(attention_dispatch, "_maybe_download_kernel_for_backend", fetch)
    monkeypatch.setitem(
        attention_dispatch._HUB_KERNELS_REGISTRY, name, replace(attention_dispatch._HUB_KERNELS_REGISTRY[name])
    )
    monkeypatch.setitem(attention_dispatch._AttentionBackendRegistry._constraints, name, [])
    assert probe("sage_hub", CPU, (1, 64, 2, 16)).difference < 0.01


def test_hoppers_attention_is_never_tried_on_blackwell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "find_spec", lambda name: object())
    assert attention_candidates(90) == [NATIVE, "_native_cudnn", "_flash_3_hub", "sage_hub"]
    assert attention_candidates(120) == [NATIVE, "_native_cudnn", "sage_hub", "sage_blackwell_hub"]
    assert attention_candidates(75) == [NATIVE, "_native_cudnn"]


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


COUNTED = "Blocks were compiled for this kind of clip: {} variants now, of at most 32."


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, while it traces
def test_one_graph_serves_all_blocks_both_experts_and_other_sizes_also_under_the_cache(
    cached: Engine, job: MakeJob, tmp_path: Path, graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "compile_blocks", lambda expert, on: compile_blocks(expert, on, backend=graphs))
    eager, _ = run(cached, job(num_inference_steps=18, acceleration="regular"), tmp_path)
    cached.acceleration.compiles = True
    for frames in (17, 21):
        before = graphs.count
        _, events = run(cached, job(num_inference_steps=18, num_frames=frames, acceleration="regular"), tmp_path)
        counted = [event.message for event in events if isinstance(event, Log) and "variants now" in event.message]
        assert counted == ([COUNTED.format(graphs.count)] if graphs.count > before else [])
    compiled, _ = run(cached, job(num_inference_steps=18, acceleration="regular"), tmp_path)
    assert abs(compiled.astype(int) - eager).max() <= 1
    assert 1 <= graphs.count <= 2
    before = graphs.count
    asked = job()
    assert np.array_equal(run(cached, asked, tmp_path)[0], plain_call(cached.pipe, asked, tmp_path))
    assert graphs.count == before


@pytest.mark.parametrize("error", [RuntimeError("no compiler"), TypeError("unhashable"), OSError("no gcc")], ids=repr)
def test_compiling_that_fails_is_said_and_left_off(
    pipe: WanImageToVideoPipeline, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "compile", refuse)
    told: list[Event] = []
    assert compile_works(pipe.transformer, NATIVE, CPU, told.append) is False
    assert told == [Log(f"Compiling does not serve here ({type(error).__name__}).", "WARN")]


def deep_expert() -> Any:
    """Eighty random layers in bf16: what is exact in another order differs by more than 2 % at their end."""
    torch.manual_seed(0)
    heads = {"num_attention_heads": 2, "attention_head_dim": 12, "rope_max_seq_len": 64}
    sizes = {"in_channels": 36, "out_channels": 16, "text_dim": 32, "ffn_dim": 32, "num_layers": 80}
    return WanTransformer3DModel(**heads, **sizes).to(torch.bfloat16).requires_grad_(False).eval()


def compiled_as(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Let torch.compile return a block in fp32, rounded once: nearer to the truth than bf16, changed by `change`."""

    def compiled(forward: Any, **_: object) -> Any:
        exact = acceleration._in_fp32(forward.__self__)

        def run(*args: Any, **kwargs: Any) -> torch.Tensor:
            floats = acceleration._floats(args), acceleration._floats(kwargs)
            return change(exact(*floats[0], **floats[1])).to(torch.bfloat16)

        return run

    monkeypatch.setattr(torch, "compile", compiled)


@pytest.mark.slow
def test_compiled_blocks_are_judged_by_fp32_and_not_by_the_noise_of_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    expert = deep_expert()
    compiled_as(monkeypatch, lambda output: output)
    assert compile_works(expert, NATIVE, CPU, [].append)
    del expert.blocks[1:]
    for block in expert.blocks:
        del block.compiled_forward
    compiled_as(monkeypatch, lambda output: output * 1.02)
    assert not compile_works(expert, NATIVE, CPU, [].append)


def test_compiling_is_tried_with_the_attention_that_was_chosen(
    pipe: WanImageToVideoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    def compiled(forward: Any, **_: object) -> Any:
        used.append(forward.__self__.attn1.processor._attention_backend.value)
        return forward

    monkeypatch.setattr(torch, "compile", compiled)
    assert compile_works(pipe.transformer, "_native_math", CPU, [].append)
    assert set(used) == {"_native_math"}


def test_compiling_raises_dynamos_limit_above_the_variants_that_clips_make(
    pipe: WanImageToVideoPipeline,
) -> None:
    with dynamo_config.patch(recompile_limit=8):
        compile_blocks(pipe.transformer, on=True, backend="eager")
        assert dynamo_config.recompile_limit >= 32


@pytest.mark.filterwarnings("ignore")  # torch's own, while it traces
def test_one_variant_too_many_switches_compiling_off_and_leaves_attention_alone(
    engine: Engine, job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_with_no_room(expert: Any, on: bool) -> None:
        compile_blocks(expert, on, backend="eager")
        dynamo_config.recompile_limit = 0  # here, because dynamo's settings belong to a thread

    plain, _ = run(engine, job(), tmp_path)
    torch.compiler.reset()
    monkeypatch.setattr(acceleration, "compile_blocks", compile_with_no_room)
    engine.acceleration = Acceleration(
        Settings(accelerate_guidance=False), attention="_native_math", compiles=True, caches=False
    )
    notes: list[Event] = []
    with dynamo_config.patch(recompile_limit=dynamo_config.recompile_limit):
        for _ in range(2):
            made, events = run(engine, job(acceleration="regular"), tmp_path)
            notes += [event for event in events if isinstance(event, Note)]
    torch.compiler.reset()
    assert notes == [Note(FAILED_MIDWAY.format(part="compiled model"))]
    assert engine.acceleration.attention == "_native_math" and not engine.acceleration.compiles
    assert abs(made.astype(int) - plain).max() <= 1


def test_a_kernel_that_fails_within_compiled_blocks_leaves_neither_of_them_on(
    engine: Engine, job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "compile_blocks", lambda expert, on: None)
    crash(engine.pipe.transformer_2, "_native_math", TypeError("no such kernel"))
    engine.acceleration = Acceleration(Settings(accelerate_guidance=False), attention="_native_math", compiles=True)
    frames, events = run(engine, job(acceleration="regular"), tmp_path)
    assert np.array_equal(frames, run(engine, job(), tmp_path)[0])
    part = "fast attention or the compiled model"
    assert [event for event in events if isinstance(event, Note)] == [Note(FAILED_MIDWAY.format(part=part))]
    assert (engine.acceleration.attention, engine.acceleration.compiles) == (NATIVE, False)
