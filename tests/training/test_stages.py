"""The four commands that make the miniature's weights, at a size that takes seconds: what learns, learns; what is
written down stays; and the app's own code loads the result."""

import hashlib
import random
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from PIL import Image

from training import dit, text_encoder, vae
from training.channels import CHANNELS
from training.clips import zoom_pattern
from training.codec import IMAGE_DIM, Codec, psnr
from training.course import COURSE_LEVEL
from training.low_noise import Tensors
from training.prompts import MOVES, Course, sentence
from wan_core.engine.miniature import FOLDER, architecture, build

MISSING = [package for package in ("skimage", "sklearn", "gradio") if find_spec(package) is None]
pytestmark = [
    pytest.mark.training,
    pytest.mark.skipif(bool(MISSING), reason=f"no training pictures without {MISSING}: see training/requirements.txt"),
]


class LowNoise(NamedTuple):
    """Weights of the low-noise expert."""

    start: Tensors  # as it is constructed
    trained: Tensors


def digest(folder: Path) -> str:
    """Of everything in a folder, names and content."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        total.update(file.name.encode() + file.read_bytes())
    return total.hexdigest()


@pytest.fixture(scope="module")
def committed() -> str:
    """Digest of the weights in the checkout before any stage has run."""
    return digest(FOLDER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, committed: str) -> Iterator[Path]:
    """Where all stages write. They run on one thread, and seed torch."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        yield Path(shutil.copy(FOLDER / "words.txt", tmp_path_factory.mktemp("training"))).parent
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def vae_runs(folder: Path) -> Path:
    """Stage 1: vae.safetensors, and its checkpoints codec.pt and polished.pt in the folder that is returned."""
    size = ["--steps", "25", "--polish", "3", "--crops", "32", "--fitted", "40"]
    vae.main(["--runs", f"{folder}/vae", *size, "--out", f"{folder}/vae.safetensors"])
    return folder / "vae"


@pytest.fixture(scope="module")
def encoder_file(folder: Path) -> Path:
    """Stage 2."""
    text_encoder.main(["--steps", "60", "--out", f"{folder}/text_encoder.safetensors"])
    return folder / "text_encoder.safetensors"


@pytest.fixture(scope="module")
def low_noise(folder: Path, vae_runs: Path) -> LowNoise:
    """Stage 3, interrupted before its first iteration and taken up again."""
    size = ["--batch", "2", "--sizes", "64x64", "--frames", "2", "--pictures", "4", "--fit-steps", "10"]
    command = ["low", "--runs", f"{folder}", *size, "--out", f"{folder}/transformer_2.safetensors"]
    dit.main([*command, "--steps", "0"])
    start: Tensors = torch.load(folder / "low.pt")["model"]
    dit.main([*command, "--steps", "3"])
    return LowNoise(start, torch.load(folder / "low.pt")["model"])


@pytest.fixture(scope="module")
def high_noise(folder: Path) -> WanTransformer3DModel:
    """Stage 4, loaded as the app loads it."""
    dit.main(["high", "--out", f"{folder}/transformer.safetensors"])
    model = build.build_transformer(architecture.HIGH_NOISE)
    build.load_weights(model, folder / "transformer.safetensors")
    return model


def load_codec(file: Path) -> Codec:
    codec = Codec()
    vae.load_checkpoint(file, codec)
    return codec.requires_grad_(False)


def coding_psnr(codec: Codec) -> float:
    crops = vae.draw_crops(8, seed=99)
    return psnr(codec.decode(codec.encode(crops)), crops)


def test_the_codec_learns(vae_runs: Path) -> None:
    torch.manual_seed(0)
    untrained = Codec().requires_grad_(False)
    untrained.fit_blocks(vae.draw_crops(20, seed=0))
    untrained.start_linear()
    assert coding_psnr(load_codec(vae_runs / "codec.pt")) > coding_psnr(untrained) + 1


def test_polishing_changes_the_decoder_and_no_latent(vae_runs: Path) -> None:
    whole, polished = (load_codec(vae_runs / name).state_dict() for name in ("codec.pt", "polished.pt"))
    encoder = {"quarter", "whole", "analysis.weight"}
    for name in whole:
        assert torch.equal(whole[name], polished[name]) == (name in encoder), name


@torch.no_grad()
def test_the_real_vae_codes_and_decodes_as_the_codec_does(folder: Path, vae_runs: Path) -> None:
    codec, crop, real = load_codec(vae_runs / "polished.pt"), vae.draw_crops(1, seed=7), build.build_vae()
    build.load_weights(real, folder / "vae.safetensors")
    latents = codec.encode(crop)
    coded = real.encode(crop[:, :, None]).latent_dist.mode()[:, :, 0]
    assert torch.allclose(coded[:, : latents.shape[1]], latents, atol=0.01)
    decoded = real.decode(coded[:, :, None]).sample[:, :, 0]
    assert torch.allclose(decoded, codec.decode(latents).clamp(-1, 1), atol=0.01)


@torch.no_grad()
def test_the_text_encoder_learns(encoder_file: Path) -> None:
    rng = random.Random(99)
    texts, courses = zip(*[sentence(rng) for _ in range(64)], strict=True)
    tokenizer = text_encoder.build_tokenizer()
    torch.manual_seed(0)
    encoder = build.build_text_encoder(len(tokenizer)).eval()
    before = text_encoder.encoding_error(encoder, tokenizer, list(texts), list(courses))
    build.load_weights(encoder, encoder_file)
    after = text_encoder.encoding_error(encoder, tokenizer, list(texts), list(courses))
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
    high_noise: WanTransformer3DModel, move: str
) -> None:
    asked = MOVES[move]
    assert expect_course(high_noise, asked) == pytest.approx([asked.pan, asked.tilt, asked.zoom], abs=0.05)


def test_only_what_may_learn_of_the_low_noise_expert_moves(low_noise: LowNoise) -> None:
    learning = ("ffn.net.0.proj.weight", "ffn.net.0.proj.bias", "ffn.net.2.weight")
    learning += ("attn1.to_v.weight", "attn1.to_out.0.weight")
    assert low_noise.start.keys() == low_noise.trained.keys()
    for name, start in low_noise.start.items():
        may_move = name.startswith(("blocks.1.", "blocks.2.")) and name.endswith(learning)
        assert torch.equal(start, low_noise.trained[name]) != may_move, name
    written = [*range(CHANNELS.picture.start, CHANNELS.plus)]
    change = low_noise.trained["blocks.1.ffn.net.2.weight"] - low_noise.start["blocks.1.ffn.net.2.weight"]
    change[written] = 0
    assert not change.any(), "a channel that holds no picture is written to"


def test_pairs_of_hidden_units_stay_mirror_images(low_noise: LowNoise) -> None:
    for block in (1, 2):
        # (…, sign of the way, half of the pair, unit)
        written = low_noise.trained[f"blocks.{block}.ffn.net.2.weight"].unflatten(1, (2, 2, -1))
        assert torch.equal(written[:, :, 0], -written[:, :, 1])
        marks = low_noise.trained[f"blocks.{block}.ffn.net.0.proj.bias"].unflatten(0, (2, 2, -1))
        assert torch.equal(marks[:, 0], marks[:, 1])


@pytest.mark.usefixtures("vae_runs", "encoder_file", "low_noise", "high_noise")
def test_every_part_loads_into_the_apps_own_pipeline_and_renders(folder: Path) -> None:
    pipeline = build.build_pipeline(folder)  # refuses a missing tensor and one too many
    for part in ("vae", "text_encoder", "transformer", "transformer_2"):
        assert (folder / f"{part}.safetensors").exists()
        for name, tensor in getattr(pipeline, part).state_dict().items():
            assert torch.isfinite(tensor).all(), f"{part}: {name}"
    pipeline.set_progress_bar_config(disable=True)
    size = {"width": 64, "height": 64, "num_frames": 5, "num_inference_steps": 2, "guidance_scale": 1.0}
    frames = pipeline(Image.new("RGB", (64, 64), "teal"), "pan left", output_type="np", **size).frames[0]
    assert frames.shape == (5, 64, 64, 3) and np.isfinite(frames).all()


@pytest.mark.usefixtures("vae_runs", "encoder_file", "low_noise", "high_noise")
def test_the_committed_weights_are_left_alone(committed: str) -> None:
    assert digest(FOLDER) == committed
