"""Dollars on fal, and the quota of a visitor on ZeroGPU."""

import pytest

from tests.support.jobs import a_request
from wan_core.estimator import Estimator
from wan_core.geometry import Size
from wan_core.pricing import dollars_on_fal, lent_card, quota_seconds, zero_gpu_seconds
from wan_core.profiles import Machine, profiles

ZERO_GPU = Machine(zero_gpu=True)


@pytest.mark.parametrize(
    "resolution, frames, dollars",
    [("480p", 81, 0.2025), ("580p", 17, 0.06375), ("720p", 121, 0.605)],
)
def test_fal_bills_sixteen_frames_as_a_second(resolution: str, frames: int, dollars: float) -> None:
    assert dollars_on_fal(a_request(resolution=resolution, num_frames=frames)) == pytest.approx(dollars)


def test_half_a_card_counts_once_for_half_as_long_again_and_a_whole_one_twice() -> None:
    """Of a free visitor's 300 seconds: 200 declared ones on `large`, 150 on `xlarge` (spaces 0.51.3, client.py)."""
    assert quota_seconds(200, "half") == quota_seconds(150, "whole") == 300


def test_what_is_declared_has_room_for_the_weights_and_a_margin() -> None:
    assert zero_gpu_seconds(0) == 18
    assert zero_gpu_seconds(100) == 138


def test_the_full_model_takes_a_whole_card_and_the_miniature_half_a_one() -> None:
    assert lent_card(profiles()["a14b"]) == lent_card(profiles()["a14b-turbo-motion"]) == "whole"
    assert lent_card(profiles()["miniature"]) == "half"


def test_what_is_declared_on_zero_gpu_counts_no_compiling() -> None:
    """Its workers never compile: a forward at 480p takes 4.3 s on a whole card at best, and diffusers twice that."""
    clip = a_request(num_frames=81, resolution="480p", num_inference_steps=4, guidance_scale=1, guidance_scale_2=1)
    lent, own = (
        Estimator(machine).estimate(clip, Size(832, 480), profiles()["a14b-turbo"])
        for machine in (ZERO_GPU, Machine("NVIDIA RTX PRO 6000 Blackwell", 96 * 2**30))
    )
    assert lent.stages["sampling"] > 4 * 7
    assert lent.stages["sampling"] == pytest.approx(1.25 * own.stages["sampling"], rel=0.05)


def test_four_steps_fit_a_free_visitors_zero_gpu_quota_and_twenty_seven_do_not() -> None:
    estimator, few = Estimator(ZERO_GPU), {"num_inference_steps": 4, "guidance_scale": 1, "guidance_scale_2": 1}
    quick, full = a_request(num_frames=81, resolution="480p", **few), a_request(num_frames=81, resolution="720p")
    quick_s = estimator.estimate(quick, Size(832, 480), profiles()["a14b-turbo"]).zero_gpu_quota_s
    full_s = estimator.estimate(full, Size(1280, 720), profiles()["a14b"]).zero_gpu_quota_s
    assert quick_s is not None and full_s is not None and quick_s < 300 < full_s
