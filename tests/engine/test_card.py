"""On a real card: every way in which the model may lie on it loads, makes the same clip, and gives its memory back."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import random_model
from tests.engine.conftest import MakeJob
from wan_core.engine import loading, memory, offload, quantizing
from wan_core.engine.embedding_cache import cache_first_frames
from wan_core.engine.loading import Card, Engine
from wan_core.engine.memory import GIB, Plan
from wan_core.engine.sampling import sample
from wan_core.events import Event, Job, Note
from wan_core.files import FileStore
from wan_core.profiles import profiles
from wan_core.settings import Settings

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

LAYOUT = replace(random_model.TINY, expert=random_model.TINY.expert | {"attention_head_dim": 16})
"""Layers in multiples of 16, which fp8 products want."""
PLAIN = Settings(accelerate_compile=False, accelerate_attention=False)
PLACEMENTS = ("resident", "model_offload", "group_offload")
FREE = "import torch; torch.zeros(1, device='cuda'); print(torch.cuda.mem_get_info()[0])"


@pytest.fixture(autouse=True)
def a_card() -> Iterator[None]:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA card")
    yield
    loading.release_memory(loading.detect_card(PLAIN))


def load(*plans: Plan, told: list[Event] | None = None) -> Engine:
    source, card = random_model.source(LAYOUT), loading.detect_card(PLAIN)
    lora = {name: random_model.lora(LAYOUT, random_model.expert(LAYOUT)) for name in ("transformer", "transformer_2")}
    report = (told if told is not None else []).append
    engine = loading.load_from(source, profiles()["a14b"], card, plans, lora, PLAIN, report)
    engine.pipe.set_progress_bar_config(disable=True)
    cache_first_frames(engine.pipe.vae)
    for text in ("a cat turns left", ""):
        engine.prompts.get(text, lambda: torch.zeros(1, 512, 32, dtype=torch.bfloat16))
    engine.pipe.tokenizer = lambda text: type("Tokens", (), {"input_ids": [0]})
    return engine


def clip(engine: Engine, job: Job, folder: Path) -> np.ndarray:
    list(sample(engine, job, "a cat turns left", FileStore(folder), lambda: False))
    return np.load(FileStore(folder).frames("job"))


def plan(placement: Any, weights: Any = "bf16", **more: Any) -> Plan:
    return Plan(weights, placement, False, 100, **more)


def test_every_placement_makes_the_clip_of_the_one_that_holds_all(job: MakeJob, tmp_path: Path) -> None:
    clips = [clip(load(plan(placement)), job(), tmp_path) for placement in PLACEMENTS]
    clips.append(clip(load(plan("group_offload", pinned=True)), job(), tmp_path))
    for made in clips[1:]:
        assert abs(made.astype(int) - clips[0]).max() <= 1


def test_a_loaded_engine_moves_from_each_placement_to_each_other(job: MakeJob, tmp_path: Path) -> None:
    engine = load(plan("resident"))
    wanted = clip(engine, job(), tmp_path)
    for placement in (*PLACEMENTS[1:], *PLACEMENTS, PLACEMENTS[1]):
        offload.move_to(engine, plan(placement))
        engine.plan = plan(placement)
        assert abs(clip(engine, job(), tmp_path).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_fp8_loads_and_makes_a_clip_in_every_placement(placement: str, job: MakeJob, tmp_path: Path) -> None:
    card = loading.detect_card(PLAIN)
    if not quantizing.is_available() or card.sm < memory.FP8_FROM_SM:
        pytest.skip("this card or machine quantizes nothing")
    assert clip(load(plan(placement, "fp8")), job(acceleration="regular"), tmp_path).shape[0] == 17


def test_turbo_and_turbo_motion_run_beside_the_plain_model(job: MakeJob, tmp_path: Path) -> None:
    engine = load(plan("model_offload"))
    before = clip(engine, job(), tmp_path)
    for name in ("a14b-turbo", "a14b-turbo-motion"):
        fast = engine.for_profile(profiles()[name])
        assert fast is not None and not np.array_equal(clip(fast, job(), tmp_path), before)
    assert np.array_equal(clip(engine, job(), tmp_path), before)


def test_memory_that_runs_out_while_loading_takes_the_next_plan(job: MakeJob, tmp_path: Path) -> None:
    told: list[Event] = []
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(2**20 / total)
    try:
        with pytest.raises(Exception, match="Memory ran out"):
            load(plan("resident"), told=told)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert clip(load(plan("resident"), plan("model_offload"), told=told), job(), tmp_path).shape[0] == 17
    assert not [event for event in told if isinstance(event, Note)]


def test_what_a_process_took_is_free_once_it_has_ended() -> None:
    def free() -> int:
        ran = subprocess.run([sys.executable, "-c", FREE], capture_output=True, text=True, check=True)
        return int(ran.stdout)

    before = free()
    work = "import torch; kept = torch.zeros(2**30, dtype=torch.uint8, device='cuda'); torch.cuda.synchronize()"
    subprocess.run([sys.executable, "-c", work], check=True)
    assert free() >= before - 2**26


def test_the_plan_of_this_card_is_one_that_its_memory_holds() -> None:
    card: Card = loading.detect_card(Settings())
    first = loading.first_plans(card, Settings(), "Wan")[0]
    assert memory.peak_of(first, loading.FIRST_CLIP) * GIB <= card.free_bytes
