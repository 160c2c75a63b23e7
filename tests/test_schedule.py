"""The course of a request: which expert runs at which step, and which steps are guided."""

import pytest
from diffusers import UniPCMultistepScheduler

from tests.support.jobs import a_request
from wan_core.schedule import BOUNDARY, StepSchedule, schedule, schedule_of, timesteps, truncated

EIGHT_STEPS = [999, 972, 937, 892, 833, 750, 625, 416]


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
    counted = [sum(t >= BOUNDARY for t in timesteps(steps, shift)) for shift in range(1, 11)]
    assert counted == high_noise


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 9.5])
@pytest.mark.parametrize("steps", [2, 4, 27, 40])
def test_the_timesteps_are_those_of_unipc(steps: int, shift: float) -> None:
    unipc = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
    unipc.set_timesteps(steps)
    assert timesteps(steps, shift) == pytest.approx(unipc.timesteps.tolist(), abs=1), "both cut to whole numbers"


def test_the_guided_steps_of_an_expert_are_its_own_and_those_still_to_come() -> None:
    course = StepSchedule((True, True, True, False, False), (True, False, True, False, True))
    assert course.guided_of(high_noise=True) == (True, False, True)
    assert course.guided_of(high_noise=True, done=1) == (False, True)
    assert course.guided_of(high_noise=False, done=4) == (True,)


def test_the_boundary_itself_belongs_to_the_high_noise_expert() -> None:
    assert schedule([999, 900, 899], 900, 1, 1).high_noise == (True, True, False)


def test_the_last_steps_can_go_without_guidance() -> None:
    course = schedule(EIGHT_STEPS, 900, 3.5, 3.5)
    assert course.forwards == 16
    assert truncated(course, 0.25).guided == (True,) * 6 + (False,) * 2
    assert truncated(course, 0.25).forwards == 14
    assert truncated(course, 0).guided == course.guided


@pytest.mark.parametrize("steps", [2, 3, 4, 6, 16, 27, 40])
@pytest.mark.parametrize("shift", [1, 5, 9, 10])
def test_the_high_noise_steps_of_a_plain_course_all_come_before_its_last_quarter(steps: int, shift: float) -> None:
    course = schedule(timesteps(steps, shift), BOUNDARY, 3.5, 3.5)
    kept = steps - round(steps / 4)
    assert truncated(course, 0.25).guided == (True,) * kept + (False,) * (steps - kept)


def motion(**values: object) -> StepSchedule:
    wanted = {"num_inference_steps": 27, "shift": 5, "guidance_scale_2": 1, "acceleration": "none"} | values
    return schedule_of(a_request(**wanted), lightning_end=True)


@pytest.mark.parametrize("word", ["none", "regular"])
def test_with_lightnings_end_the_high_noise_steps_stay_and_two_replace_the_low_noise_ones(word: str) -> None:
    course = motion(acceleration=word)
    assert course == StepSchedule((True,) * 10 + (False,) * 2, (True,) * 10 + (False,) * 2)
    assert course.forwards == 22, "against 54 of fal's defaults without acceleration"


def test_lightnings_end_never_takes_more_steps_than_were_asked_for() -> None:
    assert motion(num_inference_steps=2, shift=1) == schedule_of(
        a_request(num_inference_steps=2, shift=1, guidance_scale_2=1, acceleration="none")
    )
    assert motion(num_inference_steps=2, shift=10).low_noise_steps == 0


def test_each_expert_is_charged_for_its_own_guidance() -> None:
    def forwards(**values: object) -> tuple[int, int]:
        course = schedule_of(a_request(num_inference_steps=27, shift=5, **{"acceleration": "none"} | values))
        return course.high_noise_forwards, course.low_noise_forwards

    assert forwards() == (20, 34)
    assert forwards(guidance_scale=1) == (10, 34)
    assert forwards(guidance_scale_2=1) == (20, 17)
    assert forwards(guidance_scale=1, guidance_scale_2=1) == (10, 17)
    assert forwards(acceleration="regular") == (20, 34 - 7)


def test_what_is_left_counts_each_expert_by_its_own_cost() -> None:
    course = StepSchedule(high_noise=(True, True, False), guided=(True, False, True))
    assert course.forwards_after(0) == course.forwards == 5
    assert course.forwards_after(1, high_noise_cost=0.5) == 0.5 + 2
    assert course.forwards_after(3) == 0
