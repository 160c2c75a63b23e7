"""Memory that runs out on a card, played on the CPU: the next plan once, said, and the same frames."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engine.conftest import MakeJob
from wan_core.engine import memory
from wan_core.engine.acceleration import Acceleration, compile_blocks
from wan_core.engine.loading import Card, Engine
from wan_core.engine.memory import GIB, Plan
from wan_core.engine.sampling import ONLY_FP8, check_lent_memory, sample
from wan_core.errors import BackendError
from wan_core.events import Event, Job, Note
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.settings import Settings

RESIDENT = Plan("bf16", "resident", False, 139)


@pytest.fixture
def carded(engine: Engine) -> Engine:
    """The tiny engine on a card of 141 GB, which is the CPU in truth."""
    engine.card, engine.plan = Card(torch.device("cpu"), 90, 139 * GIB), RESIDENT
    return engine


def run(engine: Engine, job: Job, folder: Path) -> tuple[np.ndarray, list[str]]:
    events: list[Event] = list(sample(engine, job, job.inputs.prompt, FileStore(folder), lambda: False))
    return np.load(FileStore(folder).frames("job")), [event.message for event in events if isinstance(event, Note)]


def exhaust(module: torch.nn.Module, times: int) -> None:
    """Lets the first `times` forwards of `module` run out of memory."""
    left: Iterator[int] = iter(range(times))

    def hook(*_: object) -> None:
        if next(left, None) is not None:
            raise torch.OutOfMemoryError

    module.register_forward_pre_hook(hook)


def test_out_of_memory_once_gives_the_same_frames_with_the_next_plan_and_says_so(
    carded: Engine, job: MakeJob, tmp_path: Path
) -> None:
    oracle, nothing = run(carded, job(), tmp_path)
    exhaust(carded.pipe.transformer_2, times=1)
    frames, notes = run(carded, job(), tmp_path)
    assert nothing == [] and np.array_equal(frames, oracle)
    assert len(notes) == 1 and "smaller plan: bf16 experts, all on the card, tiled VAE" in notes[0]
    exhaust(carded.pipe.transformer_2, times=1)
    frames, notes = run(carded, job(), tmp_path)
    assert "smaller plan: bf16 experts, one part on the card" in notes[0] and np.array_equal(frames, oracle)
    assert carded.plan is not None and carded.plan.placement == "model_offload"


@pytest.mark.slow
def test_the_lesson_is_kept_for_the_next_clip(carded: Engine, job: MakeJob, tmp_path: Path) -> None:
    exhaust(carded.pipe.transformer_2, times=1)
    run(carded, job(), tmp_path)
    assert carded.card.free_bytes < 139 * GIB
    assert run(carded, job(seed=8), tmp_path)[1] == []


def test_out_of_memory_twice_is_an_error_in_a_sentence(carded: Engine, job: MakeJob, tmp_path: Path) -> None:
    exhaust(carded.pipe.transformer_2, times=9)
    with pytest.raises(BackendError) as error:
        run(carded, job(), tmp_path)
    assert error.value.type == "out_of_memory"


def test_a_laptop_without_memory_says_the_same(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    def exhausted(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    engine.pipe.transformer.register_forward_pre_hook(exhausted)
    with pytest.raises(BackendError) as error:
        run(engine, job(), tmp_path)
    assert error.value.type == "out_of_memory"


def test_other_failures_are_not_taken_for_memory(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    engine.pipe.transformer.register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="shapes"):
        run(engine, job(), tmp_path)


@pytest.mark.parametrize("placement", [pytest.param("model_offload", marks=pytest.mark.slow), "group_offload"])
def test_offloaded_parts_give_the_same_frames_and_come_back(
    carded: Engine, job: MakeJob, tmp_path: Path, placement: memory.Placement
) -> None:
    asked = job(num_inference_steps=18, acceleration="regular")
    oracle, _ = run(carded, asked, tmp_path)
    for plan in (Plan("bf16", placement, False, 139), RESIDENT):
        memory.arrange(carded.pipe, plan, torch.device("cpu"))
        assert np.array_equal(run(carded, asked, tmp_path)[0], oracle)


def test_a_card_too_small_for_a_clip_moves_parts_off_before_it_begins(
    carded: Engine, job: MakeJob, tmp_path: Path
) -> None:
    oracle, _ = run(carded, job(), tmp_path)
    carded.card = Card(torch.device("cpu"), 90, 12 * GIB)
    frames, notes = run(carded, job(), tmp_path)
    assert carded.plan is not None and carded.plan.placement == "group_offload"
    assert np.array_equal(frames, oracle) and notes == []


def test_a_lent_card_keeps_what_was_packed_for_it_and_only_tiles(carded: Engine, job: MakeJob, tmp_path: Path) -> None:
    oracle, _ = run(carded, job(), tmp_path)
    carded.card = Card(torch.device("cpu"), 120, 12 * GIB, lent=True)
    frames, _ = run(carded, job(), tmp_path)
    assert carded.plan == Plan("bf16", "resident", True, 12, cached=False)
    assert np.array_equal(frames, oracle)  # these frames are smaller than a tile


@pytest.mark.parametrize("free, fits", [(94, True), (75, False)])
def test_a_clip_that_a_lent_card_cannot_hold_is_refused_before_the_call(
    carded: Engine, job: MakeJob, free: int, fits: bool
) -> None:
    carded.card = Card(torch.device("cpu"), 120, free * GIB, lent=True)
    asked = job(Size(1280, 720), num_frames=121, num_inference_steps=27, acceleration="regular")
    if fits:
        check_lent_memory(carded, asked)
        return
    with pytest.raises(BackendError, match="121 frames of 1280×720"):
        check_lent_memory(carded, asked)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, while it traces
def test_compiling_ends_where_the_blocks_pass_through_the_card(carded: Engine, job: MakeJob, tmp_path: Path) -> None:
    """Compiled once, then grouped: the hooks that bring the blocks to the card must stay on them."""
    torch.compiler.reset()
    for expert in (carded.pipe.transformer, carded.pipe.transformer_2):
        compile_blocks(expert, on=True, backend="eager")
    carded.acceleration = Acceleration(Settings(), compiles=True)
    asked = job(acceleration="regular")
    oracle, _ = run(carded, asked, tmp_path)
    carded.card = Card(torch.device("cpu"), 90, 12 * GIB)
    frames, _ = run(carded, asked, tmp_path)
    assert carded.acceleration.compiles is False
    assert abs(frames.astype(int) - oracle).max() <= 1
    block = carded.pipe.transformer.blocks[1]
    assert not block.runs_compiled and block.forward is not block.eager_forward
    torch.compiler.reset()


def test_fp8_experts_say_that_none_is_not_faithful_on_them(carded: Engine, job: MakeJob, tmp_path: Path) -> None:
    carded.plan = Plan("fp8", "resident", False, 139)
    assert run(carded, job(), tmp_path)[1] == [ONLY_FP8]
    assert run(carded, job(acceleration="regular"), tmp_path)[1] == []
