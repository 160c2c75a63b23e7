"""The estimate against counted operations, published times and clips that took longer than thought."""

from pathlib import Path

import pytest

from wan_core import estimate as estimating
from wan_core.estimate import A14B, Calibration, dollars_on_fal, estimate, forwards, learn, timesteps, tokens
from wan_core.geometry import Size
from wan_core.profiles import Machine, profiles
from wan_core.schema import ImageToVideoInput

H100 = Machine("NVIDIA H100 80GB HBM3", 80 * 2**30)
LAPTOP = Machine()


def request(**values: object) -> ImageToVideoInput:
    return ImageToVideoInput.model_validate({"image_url": "data:", "prompt": "a cat"} | values)


@pytest.mark.parametrize(
    "size, frames, petaflops",
    [
        (Size(832, 480), 81, 1.678),
        (Size(1008, 560), 81, 2.885),
        (Size(1024, 576), 81, 3.097),
        (Size(1280, 720), 81, 6.523),
        (Size(832, 480), 121, 3.095),
        (Size(1280, 720), 121, 12.92),
        (Size(832, 480), 17, 0.242),
        (Size(624, 624), 81, 1.615),
        (Size(960, 960), 81, 6.523),
    ],
    ids=str,
)
def test_the_formula_counts_the_operations_that_torch_counts(size: Size, frames: int, petaflops: float) -> None:
    assert A14B.forward_flops(tokens(size, frames)) / 1e15 == pytest.approx(petaflops, rel=0.005)


@pytest.mark.parametrize(
    "steps, high_noise",
    [
        (2, [1, 1, 1, 1, 1, 1, 1, 1, 2, 2]),
        (4, [1, 1, 2, 2, 2, 2, 2, 2, 3, 3]),
        (8, [1, 2, 3, 3, 3, 4, 4, 4, 5, 5]),
        (20, [3, 4, 6, 7, 8, 9, 9, 10, 11, 11]),
        (27, [3, 5, 7, 9, 10, 11, 12, 13, 14, 15]),
        (40, [5, 8, 11, 13, 15, 17, 18, 19, 21, 22]),
    ],
)
def test_the_steps_of_the_high_noise_expert_are_those_of_the_scheduler(steps: int, high_noise: list[int]) -> None:
    """The table was read off diffusers' UniPC for shift 1…10."""
    counted = [sum(t >= 900 for t in timesteps(steps, shift)) for shift in range(1, 11)]
    assert counted == high_noise


def test_each_expert_is_charged_for_its_own_guidance() -> None:
    plain = {"num_inference_steps": 27, "acceleration": "none"}
    assert forwards(request(**plain)) == 54
    assert forwards(request(**plain, guidance_scale=1)) == 54 - 10
    assert forwards(request(**plain, guidance_scale_2=1)) == 54 - 17
    assert forwards(request(**plain, guidance_scale=1, guidance_scale_2=1)) == 27
    assert forwards(request(num_inference_steps=27, acceleration="regular")) == 54 - 7


def test_a_published_time_is_met_within_a_fifth() -> None:
    """diffusers on one H100, 480p, 81 frames, with guidance: 9.77 s a step (LightX2V's README)."""
    asked = request(resolution="480p", num_inference_steps=40, acceleration="none")
    stages = estimate(asked, Size(832, 480), profiles()["a14b"], H100, Calibration()).stages
    assert stages["sampling"] / 40 == pytest.approx(9.77, rel=0.2)


@pytest.mark.parametrize(
    "resolution, frames, dollars", [("480p", 81, 0.2025), ("580p", 17, 0.06375), ("720p", 121, 0.605)]
)
def test_fal_bills_sixteen_frames_as_a_second(resolution: str, frames: int, dollars: float) -> None:
    assert dollars_on_fal(request(resolution=resolution, num_frames=frames)) == pytest.approx(dollars)


def test_after_finished_clips_the_estimate_is_what_they_took(tmp_path: Path) -> None:
    asked, size, profile = request(resolution="480p"), Size(832, 480), profiles()["miniature"]
    calibration = Calibration(tmp_path / "calibration.json")
    before = estimate(asked, size, profile, LAPTOP, calibration)
    for slower in (2.9, 3.0, 3.3):
        took = {stage: seconds * slower for stage, seconds in before.stages.items()}
        learn(calibration, asked, size, profile, LAPTOP, took)
    again = Calibration(tmp_path / "calibration.json")
    assert estimate(asked, size, profile, LAPTOP, again).seconds == pytest.approx(3 * before.seconds)
    assert estimate(asked, size, profile, H100, again) == estimate(asked, size, profile, H100, Calibration())


def test_what_one_acceleration_taught_serves_the_other_until_it_ran_itself() -> None:
    size, profile, calibration = Size(832, 480), profiles()["miniature"], Calibration()
    regular, none = request(resolution="480p"), request(resolution="480p", acceleration="none")
    before = estimate(none, size, profile, LAPTOP, calibration).stages["sampling"]
    for asked, slower in ((regular, 3.0), (none, 2.0)):
        stages = estimate(asked, size, profile, LAPTOP, Calibration()).stages
        learn(calibration, asked, size, profile, LAPTOP, {"sampling": stages["sampling"] * slower})
        after = estimate(none, size, profile, LAPTOP, calibration).stages["sampling"]
        assert after == pytest.approx(slower * before)


def test_a_broken_store_is_forgotten_and_not_fatal(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    for text in ("", "[1]", '{"a": 1}', '{"a": ["x"]}', "\x00"):
        path.write_text(text)
        assert Calibration(path).factor("a", "sampling", "none") == 1.0


def test_four_steps_fit_a_free_visitors_zero_gpu_quota_and_twenty_seven_do_not() -> None:
    zero = Machine(zero_gpu=True)
    turbo = request(resolution="480p", num_inference_steps=4, guidance_scale=1, guidance_scale_2=1)
    quick = estimate(turbo, Size(832, 480), profiles()["a14b-turbo"], zero, Calibration())
    full = estimate(request(), Size(1280, 720), profiles()["a14b"], zero, Calibration())
    assert quick.quota_seconds(whole_card=False) < 300 < full.quota_seconds(whole_card=False)


def test_the_module_knows_no_torch() -> None:
    assert "import torch" not in Path(estimating.__file__).read_text("utf-8")


def test_film_on_a_cpu_takes_seconds_a_pair_and_rife_a_fraction_of_that() -> None:
    here = LAPTOP
    film, rife, none = (
        estimating.interpolating_s(request(interpolator_model=model), Size(832, 480), new, here)
        for model, new in (("film", 1), ("rife", 1), ("none", 0))
    )
    assert film == pytest.approx(35, rel=0.1) and rife == pytest.approx(0.39, rel=0.2) and none == 0
    assert estimating.interpolating_s(request(), Size(1280, 720), 80, Machine("NVIDIA H200", 2**37)) < 10
