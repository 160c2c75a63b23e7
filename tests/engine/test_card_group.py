"""Groups of processes that are made and ended within a test: halves of two, full precision, a rank that hangs."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from tests.engine.conftest import MakeJob, tiny_pipeline
from tests.engine.test_cards import EVEN, ODD, TOLERANCE, WAN, difference, run, settings_for
from wan_core.engine.cards.group import CardGroup
from wan_core.engine.cards.rank import Split
from wan_core.engine.loading import Engine, load
from wan_core.errors import BackendError
from wan_core.settings import ClipSplit

pytestmark = [pytest.mark.timeout(600)]

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def other_tests_may_make_a_group() -> Iterator[None]:
    """A lost one leaves its process for good, which a worker's is not meant to survive."""
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def noise(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@torch.no_grad()
def forward(pipe: Any, expert: str, text: torch.Tensor) -> torch.Tensor:
    (latents,) = noise((1, 36, 3, 6, 6))
    result: torch.Tensor = getattr(pipe, expert)(
        hidden_states=latents, timestep=torch.tensor([500]), encoder_hidden_states=text, return_dict=False
    )[0]
    return result


def assert_same_clips(together: Engine, alone: Engine, job: MakeJob, folder: Path) -> None:
    """Of tokens that divide and that do not, with one pass and with two. Ends the group."""
    assert together.group is not None
    try:
        for size, scale in ((EVEN, 1), (ODD, 8)):
            asked = job(size=size, guidance_scale=scale, guidance_scale_2=8)
            assert difference(run(together, asked, folder), run(alone, asked, folder)) <= TOLERANCE
    finally:
        together.group.close()


@pytest.mark.slow
def test_four_processes_in_two_halves_make_the_clip_of_one(saved: Path, job: MakeJob, tmp_path: Path) -> None:
    """Each half takes a pass, and its two share the tokens."""
    alone, engine = (load(WAN, settings_for(saved, cards, "guidance"), [].append) for cards in (1, 4))
    assert_same_clips(engine, alone, job, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["ulysses", "guidance"])
def test_in_full_precision_two_processes_differ_from_one_by_rounding_alone(split: ClipSplit) -> None:
    """The noise of guided and of plain steps, without the VAE's and the frames' rounding."""
    pipe, (text, negative) = tiny_pipeline(), noise((1, 512, 32), (1, 512, 32))
    experts = ("transformer", "transformer_2")
    wanted = {expert: [forward(pipe, expert, text), forward(pipe, expert, negative)] for expert in experts}
    group = CardGroup(Split(2, split), CPU)
    try:
        group.join()
        group.share(pipe)
        group.begin(negative)
        pipe._guidance_scale = 2.0
        for expert, (guided, plain) in wanted.items():
            assert abs(guided - plain).max() > 1e-2
            assert torch.allclose(forward(pipe, expert, text), guided, atol=1e-5)
            assert torch.allclose(forward(pipe, expert, negative), plain, atol=1e-5)
        pipe._guidance_scale = 1.0
        assert torch.allclose(forward(pipe, "transformer", negative), wanted["transformer"][1], atol=1e-5)
    finally:
        group.close()


@pytest.mark.fault
@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL], ids=lambda fault: fault.name)
def test_a_rank_that_hangs_or_dies_ends_the_forward_with_a_sentence_and_the_group_for_good(
    fault: signal.Signals,
) -> None:
    pipe, (text,) = tiny_pipeline(), noise((1, 512, 32))
    group = CardGroup(Split(2, "ulysses"), CPU)
    try:
        group.join()
        group.share(pipe)
        forward(pipe, "transformer", text)
        group._first.give_up_after(timedelta(seconds=5))  # nobody answers: no load of the machine can end it sooner
        os.kill(group._helpers[0].pid, fault)
        for _ in range(2):
            with pytest.raises(BackendError) as error:
                forward(pipe, "transformer", text)
            assert error.value.type == "worker_lost" and "One of the 2 processes" in error.value.message
        assert group.is_lost and not Path(f"/proc/{group._helpers[0].pid}").exists()
    finally:
        group.close()


@pytest.mark.fault
def test_heads_that_cannot_be_divided_are_said() -> None:
    pipe = tiny_pipeline()
    pipe.transformer.register_to_config(num_attention_heads=3)
    group = CardGroup(Split(2, "ulysses"), CPU)
    try:
        group.join()
        with pytest.raises(BackendError, match="3 attention heads cannot be shared by 2 cards"):
            group.share(pipe)
    finally:
        group.close()


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("split", ["ulysses", "guidance"])
def test_two_cards_make_the_clip_of_one(saved: Path, job: MakeJob, tmp_path: Path, split: ClipSplit) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there are no two CUDA cards")
    plain = {"accelerate_compile": False, "accelerate_attention": False, "accelerate_fp8": False}
    hosts = [settings_for(saved, cards, split).model_copy(update=plain) for cards in (1, 2)]
    alone, engine = (load(WAN, host, [].append) for host in hosts)
    assert_same_clips(engine, alone, job, tmp_path)
