"""The estimate against published times and clips that took longer than thought."""

from dataclasses import replace
from pathlib import Path

import pytest

from wan_core.calibration import Calibration
from wan_core.estimator import Estimator
from wan_core.events import Job, JobOptions
from wan_core.geometry import Size
from wan_core.profiles import Machine, profiles
from wan_core.schema import ImageToVideoInput
from wan_core.settings import ClipSplit, Limits

H100 = Machine("NVIDIA H100 80GB HBM3", 80 * 2**30)
H200 = Machine("NVIDIA H200", 2**37)
LAPTOP = Machine()
SIZE = Size(832, 480)
A14B, MINIATURE = profiles()["a14b"], profiles()["miniature"]


def request(**values: object) -> ImageToVideoInput:
    return ImageToVideoInput.model_validate({"image_url": "data:", "prompt": "a cat"} | values)


def a_job(**values: object) -> Job:
    return Job("job", request(resolution="480p", **values), SIZE, JobOptions("miniature"), {"image_url": "picture"})


def test_clips_that_share_the_cores_take_longer_and_those_with_cards_of_their_own_do_not() -> None:
    shared, two_cards = Machine(workers=2), Machine(H100.card, H100.vram_bytes, ("a", "b"), 2)
    job = a_job(num_frames=81)
    assert Estimator(shared).seconds_of(job) == pytest.approx(2 * Estimator(LAPTOP).seconds_of(job))
    assert Estimator(two_cards).seconds_of(job) == pytest.approx(Estimator(H100).seconds_of(job))


@pytest.mark.parametrize(
    ("split", "values", "gain"),
    [
        ("ulysses", {}, 4),
        ("ulysses", {"guidance_scale": 1, "guidance_scale_2": 1}, 4),
        ("guidance", {}, 4),
        ("guidance", {"guidance_scale": 1, "guidance_scale_2": 1}, 2),
        ("guidance", {"acceleration": "regular"}, 4 * 47 / 54),
    ],
)
def test_cards_that_share_a_clip_take_the_busiest_ones_part_of_the_sampling(
    split: ClipSplit, values: dict[str, object], gain: float
) -> None:
    """Of 27 steps `regular` guides 20, so by passes one half of the cards rests in 7."""
    together = replace(H100, cards=("a", "b", "c", "d"), cards_per_clip=4, clip_split=split)
    asked = request(**{"resolution": "480p", "acceleration": "none"} | values)
    attention = 1.2 if asked.acceleration == "regular" else 1.0
    alone = Estimator(H100).estimate(asked.model_copy(update={"acceleration": "none"}), SIZE, A14B).stages
    shared = Estimator(together).estimate(asked, SIZE, A14B).stages
    encode_s = 1.6e-8 * SIZE.pixels * 81
    passes = 54 / 47 if asked.acceleration == "regular" else 1.0
    assert (alone["sampling"] - encode_s) / (shared["sampling"] - encode_s) == pytest.approx(
        gain * attention * passes, rel=1e-3
    )
    assert shared["decoding"] == alone["decoding"]


def test_a_published_time_is_met_within_a_fifth() -> None:
    """diffusers on one H100, 480p, 81 frames, with guidance: 9.77 s a step (LightX2V's README)."""
    asked = request(resolution="480p", num_inference_steps=40, acceleration="none")
    assert Estimator(H100).estimate(asked, SIZE, A14B).stages["sampling"] / 40 == pytest.approx(9.77, rel=0.2)


@pytest.mark.parametrize("acceleration", ["none", "regular"])
def test_turbo_motion_is_charged_for_the_forwards_that_it_runs(acceleration: str) -> None:
    motion = request(resolution="480p", acceleration=acceleration, guidance_scale_2=1)
    whole = motion.model_copy(update={"guidance_scale_2": 3.5})
    seconds = {
        name: Estimator(H100).estimate(asked, SIZE, profiles()[name]).stages["sampling"]
        for name, asked in (("a14b", whole), ("a14b-turbo-motion", motion))
    }
    fewer = 54 / 22 if acceleration == "none" else 47 / 22 / 1.3  # `regular` skips 7 forwards and has its cache
    assert seconds["a14b"] / seconds["a14b-turbo-motion"] == pytest.approx(fewer, rel=0.05)


def test_after_finished_clips_the_estimate_is_what_they_took(tmp_path: Path) -> None:
    job, path = a_job(), tmp_path / "calibration.json"
    estimator = Estimator(LAPTOP, Calibration(path))
    before = estimator.of_job(job)
    for slower in (2.9, 3.0, 3.3):
        estimator.learn_from(job, {stage: seconds * slower for stage, seconds in before.stages.items()})
    assert Estimator(LAPTOP, Calibration(path)).seconds_of(job) == pytest.approx(3 * before.seconds)
    assert Estimator(H100, Calibration(path)).of_job(job) == Estimator(H100).of_job(job)


def test_a_job_that_finished_kept_frames_again_teaches_nothing() -> None:
    estimator = Estimator(LAPTOP)
    before = estimator.seconds_of(a_job())
    estimator.learn_from(replace(a_job(), frames_of="other"), {"encoding": 1000.0, "interpolating": 1000.0})
    assert estimator.seconds_of(a_job()) == before


def test_what_one_acceleration_taught_serves_the_other_until_it_ran_itself() -> None:
    estimator, untaught = Estimator(LAPTOP), Estimator(LAPTOP)
    regular, none = a_job(), a_job(acceleration="none")
    before = estimator.of_job(none).stages["sampling"]
    for job, slower in ((regular, 3.0), (none, 2.0)):
        estimator.learn_from(job, {"sampling": slower * untaught.of_job(job).stages["sampling"]})
        assert estimator.of_job(none).stages["sampling"] == pytest.approx(slower * before)


def test_a_job_may_take_three_times_its_estimate_and_at_least_twenty_minutes() -> None:
    estimator, limits = Estimator(LAPTOP), Limits()
    short, long = a_job(num_frames=17), replace(a_job(), options=JobOptions("a14b"))
    assert estimator.wall_limit_s(short, limits) == limits.min_job_s
    assert estimator.wall_limit_s(long, limits) == 3 * estimator.seconds_of(long) > limits.min_job_s


def test_enlarging_with_the_picture_is_counted_and_learned_apart_from_plain_enlarging() -> None:
    def encoding_s(estimator: Estimator, engine: str, detail: bool = True) -> float:
        job = replace(a_job(), options=JobOptions(engine, picture_detail=detail))
        return estimator.of_job(job).stages["encoding"]

    fresh, taught = Estimator(LAPTOP), Estimator(LAPTOP)
    guided, plain = encoding_s(fresh, "miniature"), encoding_s(fresh, "miniature", False)
    assert guided > plain > encoding_s(fresh, "a14b")
    for detail, seconds in ((True, 3 * guided), (False, 2 * plain)):
        job = replace(a_job(), options=JobOptions("miniature", picture_detail=detail))
        taught.learn_from(job, {"encoding": seconds})
    assert encoding_s(taught, "miniature") == pytest.approx(3 * guided)
    assert encoding_s(taught, "miniature", False) == pytest.approx(2 * plain)


def test_quota_is_said_where_a_card_is_lent_and_nowhere_else() -> None:
    assert Estimator(H200).of_job(a_job()).zero_gpu_quota_s is None
    expected = Estimator(Machine(zero_gpu=True)).of_job(a_job())
    assert expected.zero_gpu_quota_s == 1.5 * expected.zero_gpu_seconds


def test_the_quota_stays_what_will_be_declared_however_long_clips_took() -> None:
    estimator = Estimator(Machine(zero_gpu=True))
    before = estimator.of_job(a_job())
    estimator.learn_from(a_job(), {stage: 5 * seconds for stage, seconds in before.stages.items()})
    after = estimator.of_job(a_job())
    assert after.seconds == pytest.approx(5 * before.seconds)
    assert after.zero_gpu_quota_s == before.zero_gpu_quota_s


def test_film_on_a_cpu_takes_seconds_a_pair_and_what_carries_it_out_a_fraction_of_that() -> None:
    def seconds_a_pair(asked_for: str, carried_out_by: str) -> float:
        asked = request(resolution="480p", num_interpolated_frames=1, interpolator_model=asked_for)
        estimator = Estimator(LAPTOP, carried_out_by={asked_for: carried_out_by}.__getitem__)
        return estimator.estimate(asked, SIZE, A14B).stages["interpolating"] / (asked.num_frames - 1)

    assert seconds_a_pair("film", "film") == pytest.approx(35, rel=0.1)
    assert seconds_a_pair("film", "rife") == seconds_a_pair("rife", "rife") == pytest.approx(0.39, rel=0.2)
    assert seconds_a_pair("film", "fallback") == seconds_a_pair("rife", "fallback") < seconds_a_pair("rife", "rife")
    assert seconds_a_pair("none", "none") == 0
    on_a_card = Estimator(H200).estimate(request(resolution="720p"), Size(1280, 720), A14B)
    assert on_a_card.stages["interpolating"] < 10


def test_the_interpolators_own_rate_is_asked_for_the_model_and_the_device() -> None:
    def rate(model: str, device: str) -> float:
        return {("rife", "cuda"): 1e-6, ("rife", "cpu"): 2e-6}[model, device]

    asked, as_it_is = request(resolution="480p", interpolator_model="rife"), str
    for machine, seconds in ((H100, 1e-6), (LAPTOP, 2e-6)):
        said = Estimator(machine, None, rate, as_it_is).estimate(asked, SIZE, A14B).stages["interpolating"]
        assert said == pytest.approx(seconds * 832 * 512 * (asked.num_frames - 1) * asked.num_interpolated_frames)
