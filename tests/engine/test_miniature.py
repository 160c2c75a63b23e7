"""The miniature is the real pipeline, small: same classes, same weights at every build, finite frames at any size."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from PIL import Image
from transformers import T5TokenizerFast, UMT5EncoderModel

from wan_core.engine import miniature
from wan_core.engine.miniature.build import build_pipeline
from wan_core.profiles import miniature_card

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def pipeline() -> WanImageToVideoPipeline:
    built = build_pipeline()
    built.set_progress_bar_config(disable=True)
    return built


def render(pipeline: WanImageToVideoPipeline, prompt: str, seed: int, width: int = 64, height: int = 64) -> np.ndarray:
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    picture = Image.fromarray(np.stack([np.tile(ramp, (height, 1))] * 3, axis=-1))
    return pipeline(
        picture,
        prompt,
        width=width,
        height=height,
        num_frames=5,
        num_inference_steps=2,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).frames[0]


def test_every_component_has_the_class_a14b_has(pipeline: WanImageToVideoPipeline) -> None:
    assert isinstance(pipeline.tokenizer, T5TokenizerFast)
    assert isinstance(pipeline.text_encoder, UMT5EncoderModel)
    assert isinstance(pipeline.vae, AutoencoderKLWan)
    assert isinstance(pipeline.scheduler, UniPCMultistepScheduler)
    assert isinstance(pipeline.transformer, WanTransformer3DModel)
    assert isinstance(pipeline.transformer_2, WanTransformer3DModel)
    assert pipeline.image_encoder is None
    assert pipeline.config.boundary_ratio == 0.9
    assert (pipeline.vae_scale_factor_spatial, pipeline.vae_scale_factor_temporal) == (8, 4)
    assert pipeline.transformer.config.in_channels == 2 * 18 + 4
    assert pipeline.transformer.config.out_channels == 18


def test_two_builds_have_the_same_weights_and_leave_the_random_state_alone(pipeline: WanImageToVideoPipeline) -> None:
    before = torch.random.get_rng_state()
    again = build_pipeline()
    assert torch.equal(torch.random.get_rng_state(), before)
    for part in ("vae", "text_encoder", "transformer", "transformer_2"):
        first, second = getattr(pipeline, part).state_dict(), getattr(again, part).state_dict()
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (112, 48)])
def test_a_short_clip_is_finite_and_has_the_size_asked_for(
    pipeline: WanImageToVideoPipeline, width: int, height: int
) -> None:
    frames = render(pipeline, "the camera pans left", seed=1, width=width, height=height)
    assert frames.shape == (5, height, width, 3)
    assert np.isfinite(frames).all()


def test_the_seed_decides_the_clip(pipeline: WanImageToVideoPipeline) -> None:
    first = render(pipeline, "pan left", seed=1)
    assert np.array_equal(first, render(pipeline, "pan left", seed=1))
    assert not np.array_equal(first, render(pipeline, "pan left", seed=2))


def lamp(
    pipeline: WanImageToVideoPipeline, prompt: str, seed: int = 0, steps: int = 6, shift: float = 5.0
) -> np.ndarray:
    """First and last frame of a clip of a bright disc, (2, 64, 112) from about -1 to 1."""
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config, flow_shift=shift)
    xs, ys = np.meshgrid(np.arange(112), np.arange(64))
    disc = np.clip(20 - np.hypot(xs - 56, ys - 32), 0, 1)
    latents = pipeline(
        Image.fromarray((40 + 180 * disc[..., None] * [1.0, 0.8, 0.5]).astype(np.uint8)),
        prompt,
        width=112,
        height=64,
        num_frames=81,
        num_inference_steps=steps,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(seed),
        output_type="latent",
    ).frames  # frame 4k of a clip is latent frame k alone
    ends = (latents[:, :, :1], latents[:, :, -1:])
    return np.stack([pipeline.vae.decode(frame).sample[0, :, 0].mean(0).numpy() for frame in ends])


def moved(ends: np.ndarray) -> np.ndarray:
    """Where the disc is in the last frame, against the first: (right, down) in pixels."""
    bright = (ends + 0.2).clip(0)
    weights = bright / bright.sum((1, 2), keepdims=True)
    places = [(weights * axis).sum((1, 2)) for axis in np.meshgrid(np.arange(112), np.arange(64))]
    return np.array([place[1] - place[0] for place in places])


trained = pytest.mark.skipif(not miniature_card()["trained"], reason="the weights here promise no moves")


@pytest.mark.slow
@trained
def test_the_prompt_decides_where_the_picture_goes(pipeline: WanImageToVideoPipeline) -> None:
    assert moved(lamp(pipeline, "The camera pans left."))[0] > 4
    assert moved(lamp(pipeline, "a lamp on a table, the camera pans right"))[0] < -4
    assert moved(lamp(pipeline, "tilt up"))[1] > 4
    assert np.abs(moved(lamp(pipeline, "static shot"))).max() < 1


@pytest.mark.slow
@trained
def test_a_seed_is_another_take_of_the_same_move_and_a_static_camera_rests_in_all(
    pipeline: WanImageToVideoPipeline,
) -> None:
    pans = [moved(lamp(pipeline, "pan left", seed))[0] for seed in range(4)]
    assert min(pans) > 2
    assert max(pans) - min(pans) > 1
    assert max(np.abs(moved(lamp(pipeline, "static shot", seed))).max() for seed in range(4)) < 1


@pytest.mark.slow
@trained
def test_a_prompt_without_a_camera_lets_it_drift_another_way_with_each_seed(pipeline: WanImageToVideoPipeline) -> None:
    drifts = np.array([moved(lamp(pipeline, "a lamp on a table", seed)) for seed in range(4)])
    assert np.ptp(drifts, axis=0).max() > 1


@pytest.mark.slow
@trained
def test_more_steps_give_a_sharper_picture(pipeline: WanImageToVideoPipeline) -> None:
    few, many = (np.abs(np.diff(lamp(pipeline, "pan left", steps=steps)[1])).max(1).mean() for steps in (2, 12))
    assert many > 1.03 * few


@pytest.mark.slow
@trained
def test_a_higher_shift_leaves_what_moves_softer_and_what_rests_as_sharp(pipeline: WanImageToVideoPipeline) -> None:
    def edge(prompt: str, shift: float) -> float:
        return float(np.abs(np.diff(lamp(pipeline, prompt, shift=shift)[1], axis=1)).max())

    assert edge("pan left", 1) > 1.1 * edge("pan left", 5) > 1.2 * edge("pan left", 10)
    assert edge("static shot", 10) == pytest.approx(edge("static shot", 1), rel=0.02)


def test_words_in_any_case_and_before_a_comma_keep_their_token(pipeline: WanImageToVideoPipeline) -> None:
    tokens = pipeline.tokenizer.tokenize("A cat; Camera PANS left, slowly.")
    assert tokens == ["▁a", "▁cat", ";", "▁camera", "▁pans", "▁left", ",", "▁slowly", "."]


def test_an_unknown_word_is_unknown_and_does_not_borrow_a_move(pipeline: WanImageToVideoPipeline) -> None:
    assert not {"▁in", "▁out", "▁up"} & set(pipeline.tokenizer.tokenize("xylophone quartz zither"))


def test_the_card_promises_moves_only_when_trained() -> None:
    card = miniature_card()
    assert str(card["sentence"]).endswith(".")
    assert card["trained"] or not card["moves"]


def test_the_weights_stay_small() -> None:
    sizes = [file.stat().st_size for file in miniature.FOLDER.glob("*.safetensors")]
    assert all(size < 10 * MEGABYTE for size in sizes)
    assert sum(sizes) <= 16 * MEGABYTE
