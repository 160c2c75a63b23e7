"""The memory planner for every card of the reference's table, and its plans on a real pipeline."""

import pytest
import torch
from diffusers import WanImageToVideoPipeline

from wan_core.engine.memory import GIB, Plan, arrange, peak, plan, plans
from wan_core.geometry import Size

P480, P580, P720 = Size(832, 480), Size(1024, 576), Size(1280, 720)
CARDS = {  # GiB free after the driver, compute capability
    "H200": (139, 90),
    "RTX PRO 6000": (94, 120),
    "H100": (79, 90),
    "A100": (79, 80),
    "half an RTX PRO 6000": (47, 120),
    "L40S": (44, 89),
    "A40": (44, 86),
    "RTX 5090": (31, 120),
    "RTX 4090": (23, 89),
}


def chosen(card: str, size: Size, frames: int = 81, regular: bool = True, fp8: bool = True) -> tuple[str, str, bool]:
    free, sm = CARDS[card]
    found = plan(free * GIB, sm, size, frames, "regular" if regular else "none", fp8)
    return found.weights, found.placement, found.tiled


@pytest.mark.parametrize(
    "card, size, frames, expected",
    [
        ("H200", P720, 81, ("bf16", "resident", False)),
        ("H200", P720, 161, ("bf16", "resident", False)),
        ("RTX PRO 6000", P720, 81, ("bf16", "resident", False)),
        ("H100", P480, 81, ("bf16", "resident", False)),
        ("H100", P720, 81, ("bf16", "resident", True)),
        ("H100", P720, 121, ("fp8", "resident", False)),
        ("A100", P720, 121, ("bf16", "model_offload", False)),
        ("half an RTX PRO 6000", P480, 81, ("fp8", "resident", False)),
        ("half an RTX PRO 6000", P720, 81, ("fp8", "resident", True)),
        ("L40S", P480, 81, ("fp8", "resident", False)),
        ("L40S", P720, 81, ("fp8", "model_offload", False)),
        ("A40", P480, 81, ("bf16", "model_offload", False)),
        ("RTX 5090", P480, 81, ("fp8", "model_offload", False)),
        ("RTX 4090", P480, 81, ("fp8", "model_offload", False)),
        ("RTX 4090", P720, 81, ("fp8", "group_offload", False)),
    ],
)
def test_each_card_gets_the_fastest_plan_that_fits(
    card: str, size: Size, frames: int, expected: tuple[str, str, bool]
) -> None:
    assert chosen(card, size, frames) == expected


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("size", [P480, P580, P720], ids=str)
def test_without_acceleration_or_without_torchao_nothing_is_quantized(card: str, size: Size) -> None:
    assert chosen(card, size, regular=False)[0] == "bf16"
    assert chosen(card, size, fp8=False)[0] == "bf16"


@pytest.mark.parametrize("card", CARDS)
def test_what_is_chosen_fits_and_each_further_plan_fits_too(card: str) -> None:
    free = CARDS[card][0]
    for candidate in plans(free * GIB, P720, 121, ("bf16", "fp8")):
        assert peak(candidate.weights, candidate.placement, candidate.tiled, P720, 121) <= free


def test_on_a_card_that_is_too_small_the_smallest_plan_is_tried() -> None:
    assert chosen_on(4) == ("bf16", "group_offload", True)


def chosen_on(free: int) -> tuple[str, str, bool]:
    found = plan(free * GIB, 89, P480, 81, "none")
    return found.weights, found.placement, found.tiled


@pytest.mark.parametrize(
    "size, published", [(P720, 83.4), (P480, 72)], ids=["SGLang on an H200 at 720p, 89.5 GB", "80 GB card at 480p"]
)
def test_the_peaks_agree_with_published_ones(size: Size, published: float) -> None:
    assert peak("bf16", "resident", False, size, 81) == pytest.approx(published, rel=0.05)


def test_a_plan_is_said_in_one_line() -> None:
    assert plan(48 * GIB, 90, P720, 81, "regular").sentence == "48 GiB free: fp8 experts, all on the card, tiled VAE."
    assert plan(139 * GIB, 90, P720, 81, "none").sentence == "139 GiB free: bf16 experts, all on the card."


def test_only_what_leaves_the_card_needs_main_memory() -> None:
    assert plan(139 * GIB, 90, P720, 81, "none").host_bytes == 0
    assert plan(44 * GIB, 86, P720, 81, "none").host_bytes / GIB == pytest.approx(64.3, abs=0.1)


def test_tiling_is_switched_on_and_off_again(pipe: WanImageToVideoPipeline) -> None:
    for tiled in (True, False):
        arrange(pipe, Plan("bf16", "resident", tiled, 139), torch.device("cpu"))
        assert pipe.vae.use_tiling is tiled
