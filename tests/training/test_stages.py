"""The four commands that make the miniature's weights, at a size that takes seconds: what learns, learns; what is
written down stays; and the app's own code loads the result."""

import hashlib
import random
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanTransformer3DModel

from training import dit, text_encoder, vae
from training.channels import CHANNELS
from training.clips import zoom_pattern
from training.codec import IMAGE_DIM, Codec, psnr
from training.course import COURSE_LEVEL
from training.low_noise import Tensors
from training.prompts import MOVES, Course, sentence
from wan_core.engine.miniature import FOLDER, architecture

MISSING = [package for package in ("skimage", "sklearn", "gradio") if find_spec(package) is None]
pytestmark = [
    pytest.mark.training,
    pytest.mark.skipif(bool(MISSING), reason=f"no training pictures without {MISSING}: see training/requirements.txt"),
]


class Stages(NamedTuple):
    """What the commands left behind."""

    weights: Path  # the four safetensors and the words
    vae: Path  # codec.pt, polished.pt
    start: Tensors  # of the low-noise expert, as it was constructed
    trained: Tensors
    committed_before: str


def digest(folder: Path) -> str:
    """Of everything in a folder, names and content."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        total.update(file.name.encode() + file.read_bytes())
    return total.hexdigest()


def run_low_noise(folder: Path, steps: int) -> Tensors:
    """Its weights after so many iterations in all; constructed first, if they are not yet."""
    size = ["--batch", "2", "--sizes", "64x64", "--frames", "2", "--pictures", "4", "--fit-steps", "10"]
    out = ["--out", f"{folder}/transformer_2.safetensors"]
    dit.main(["low", "--runs", f"{folder}", "--steps", f"{steps}", *size, *out])
    tensors: Tensors = torch.load(folder / "low.pt")["model"]
    return tensors


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    """All four commands, run once, one after the other as in make.sh."""
    folder, committed, threads = tmp_path_factory.mktemp("training"), digest(FOLDER), torch.get_num_threads()
    shutil.copy(FOLDER / "words.txt", folder)
    with torch.random.fork_rng(devices=[]):
        size = ["--steps", "25", "--polish", "3", "--crops", "32", "--fitted", "40"]
        vae.main(["--runs", f"{folder}/vae", *size, "--out", f"{folder}/vae.safetensors"])
        text_encoder.main(["--steps", "60", "--out", f"{folder}/text_encoder.safetensors"])
        start = run_low_noise(folder, steps=0)
        trained = run_low_noise(folder, steps=3)
        dit.main(["high", "--out", f"{folder}/transformer.safetensors"])
    torch.set_num_threads(threads)
    yield Stages(folder, folder / "vae", start, trained, committed)


@pytest.fixture(scope="module")
def pipeline(stages: Stages) -> WanImageToVideoPipeline:
    """The app's own pipeline from what the stages wrote; `load_state_dict` refuses a missing or a strange tensor."""
    return architecture.build(stages.weights)


def load_codec(file: Path) -> Codec:
    codec = Codec()
    vae.load_checkpoint(file, codec)
    return codec.requires_grad_(False)


def coding_psnr(codec: Codec) -> float:
    crops = vae.draw_crops(8, seed=99)
    return psnr(codec.decode(codec.encode(crops)), crops)


def test_every_part_is_finite_and_loads_into_the_apps_own_pipeline(pipeline: WanImageToVideoPipeline) -> None:
    for part in architecture.PARTS:
        for name, tensor in getattr(pipeline, part).state_dict().items():
            assert torch.isfinite(tensor).all(), f"{part}: {name}"


def test_the_committed_weights_are_left_alone(stages: Stages) -> None:
    assert digest(FOLDER) == stages.committed_before


def test_the_codec_learns(stages: Stages) -> None:
    torch.manual_seed(0)
    untrained = Codec().requires_grad_(False)
    untrained.fit_blocks(vae.draw_crops(20, seed=0))
    untrained.start_linear()
    assert coding_psnr(load_codec(stages.vae / "codec.pt")) > coding_psnr(untrained) + 1


def test_polishing_changes_the_decoder_and_no_latent(stages: Stages) -> None:
    whole, polished = (load_codec(stages.vae / name).state_dict() for name in ("codec.pt", "polished.pt"))
    encoder = {"quarter", "whole", "analysis.weight"}
    for name in whole:
        assert torch.equal(whole[name], polished[name]) == (name in encoder), name


def test_the_real_vae_codes_and_decodes_as_the_codec_does(stages: Stages, pipeline: WanImageToVideoPipeline) -> None:
    codec, crop = load_codec(stages.vae / "polished.pt"), vae.draw_crops(1, seed=7)
    latents = codec.encode(crop)
    coded = pipeline.vae.encode(crop[:, :, None]).latent_dist.mode()[:, :, 0]
    assert torch.allclose(coded[:, : latents.shape[1]], latents, atol=0.01)
    decoded = pipeline.vae.decode(coded[:, :, None]).sample[:, :, 0]
    assert torch.allclose(decoded, codec.decode(latents).clamp(-1, 1), atol=0.01)


def test_the_text_encoder_learns(stages: Stages, pipeline: WanImageToVideoPipeline) -> None:
    rng = random.Random(99)
    texts, courses = zip(*[sentence(rng) for _ in range(64)], strict=True)
    tokenizer = text_encoder.build_tokenizer()
    torch.manual_seed(0)
    untrained = architecture.build_text_encoder(len(tokenizer)).eval()
    with torch.no_grad():
        before, after = (
            text_encoder.encoding_error(encoder, tokenizer, list(texts), list(courses))
            for encoder in (untrained, pipeline.text_encoder)
        )
    assert after < 0.8 * before


def expect_course(model: WanTransformer3DModel, asked: Course) -> list[float]:
    """Pan, tilt and zoom, in normal speeds, that the expert expects under a prompt where there is only noise."""
    noise = torch.randn(1, architecture.Z_DIM, 5, 8, 8, generator=torch.Generator().manual_seed(1))
    condition = torch.zeros(1, architecture.Z_DIM + 4, 5, 8, 8)
    condition[:, :4, 0] = 1
    states, sigma = text_encoder.meaning([asked])[:, None], 0.999
    with torch.no_grad():
        inputs = torch.cat([noise, condition], 1)
        velocity = model(inputs, torch.tensor([1000 * sigma]), states, return_dict=False)[0]
    fields = (noise - sigma * velocity)[0, IMAGE_DIM:, 1:] / COURSE_LEVEL
    zoom = (fields * zoom_pattern(8, 8)).mean()
    return [*fields.mean((1, 2, 3)).tolist(), zoom.item()]


@pytest.mark.parametrize("move", MOVES)
def test_the_high_noise_expert_expects_the_course_that_is_asked_for(
    pipeline: WanImageToVideoPipeline, move: str
) -> None:
    asked = MOVES[move]
    assert expect_course(pipeline.transformer, asked) == pytest.approx([asked.pan, asked.tilt, asked.zoom], abs=0.05)


def test_only_what_may_learn_of_the_low_noise_expert_moves(stages: Stages) -> None:
    learning = ("ffn.net.0.proj.weight", "ffn.net.0.proj.bias", "ffn.net.2.weight")
    learning += ("attn1.to_v.weight", "attn1.to_out.0.weight")
    assert stages.start.keys() == stages.trained.keys()
    for name, start in stages.start.items():
        may_move = name.startswith(("blocks.1.", "blocks.2.")) and name.endswith(learning)
        assert torch.equal(start, stages.trained[name]) != may_move, name
    written = [*range(CHANNELS.picture.start, CHANNELS.plus)]
    change = stages.trained["blocks.1.ffn.net.2.weight"] - stages.start["blocks.1.ffn.net.2.weight"]
    change[written] = 0
    assert not change.any(), "a channel that holds no picture is written to"


def test_pairs_of_hidden_units_stay_mirror_images(stages: Stages) -> None:
    for block in (1, 2):
        # (…, sign of the way, half of the pair, unit)
        written = stages.trained[f"blocks.{block}.ffn.net.2.weight"].unflatten(1, (2, 2, -1))
        assert torch.equal(written[:, :, 0], -written[:, :, 1])
        marks = stages.trained[f"blocks.{block}.ffn.net.0.proj.bias"].unflatten(0, (2, 2, -1))
        assert torch.equal(marks[:, 0], marks[:, 1])
