"""A 2-layer Wan 2.2 with two experts, a real UMT5 and a word tokenizer: every path of the big one, in milliseconds.

The sizes are those of diffusers' own tests (tests/pipelines/wan/test_wan_22_image_to_video.py).
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from wan_core import geometry
from wan_core.engine.embedding_cache import cache_first_frames
from wan_core.engine.loading import Engine
from wan_core.events import Job, JobOptions
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.profiles import EngineProfile
from wan_core.schema import ImageToVideoInput
from wan_core.timing import sampled_frames

SIZE = Size(32, 48)
TINY = EngineProfile("tiny", "Tiny", "Two layers of noise.", repo=None, revision=None)
WORDS = ["<pad>", "</s>", "<unk>", "a", "cat", "turns", "left", "blurry"]


@pytest.fixture(autouse=True)
def tiny_models_run_on_one_thread(one_thread: None) -> None:
    """More threads only cost time, and sums would depend on how many there are."""


def expert(layers: int = 2) -> WanTransformer3DModel:
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=36,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=layers,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,  # patches a side: enough for 624 × 624
    )


def vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def text_encoder() -> UMT5EncoderModel:
    return UMT5EncoderModel(
        UMT5Config(vocab_size=len(WORDS), d_model=32, d_ff=37, d_kv=8, num_layers=2, num_heads=4)
    ).eval()


def tiny_pipeline(layers: int = 2) -> WanImageToVideoPipeline:
    torch.manual_seed(0)
    pipe = WanImageToVideoPipeline(
        tokenizer=tokenizer(),
        text_encoder=text_encoder(),
        transformer=expert(layers),
        transformer_2=expert(layers),
        vae=vae(),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
        image_encoder=None,
        image_processor=None,
        boundary_ratio=0.9,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe() -> WanImageToVideoPipeline:
    return tiny_pipeline()


@pytest.fixture
def engine(pipe: WanImageToVideoPipeline) -> Engine:
    cache_first_frames(pipe.vae)
    return Engine(TINY, pipe)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (60, 40, 3), np.uint8)
    path = FileStore(tmp_path).picture("picture")
    Image.fromarray(noise).save(path)
    return path


MakeJob = Callable[..., Job]


@pytest.fixture
def job(picture: Path) -> MakeJob:
    """A job with fal's defaults except for 9 frames, 4 steps, no acceleration and what the test says."""

    def make(size: Size = SIZE, files: Mapping[str, str] | None = None, **values: object) -> Job:
        defaults = {"image_url": "", "prompt": "a cat turns left", "seed": 7, "num_frames": 9}
        request = ImageToVideoInput.model_construct(
            **ImageToVideoInput(image_url="data:", prompt="a cat").model_dump()
            | {"num_inference_steps": 4, "acceleration": "none"}
            | defaults
            | values
        )
        return Job("job", request, size, JobOptions("tiny"), files or {"image_url": "picture"})

    return make


def plain_call(pipe: Any, job: Job, folder: Path, kind: Any = UniPCMultistepScheduler) -> np.ndarray:
    """What a newcomer would write with diffusers alone. `kind` of scheduler."""
    request = job.inputs
    pipe.scheduler = kind.from_config(pipe.scheduler.config, flow_shift=request.shift)
    last = job.end_picture and geometry.fit(Image.open(FileStore(folder).picture(job.end_picture)), job.size)
    frames = pipe(
        image=geometry.fit(Image.open(FileStore(folder).picture(job.picture)), job.size),
        last_image=last,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=job.size.width,
        height=job.size.height,
        num_frames=sampled_frames(request.num_frames),
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        guidance_scale_2=request.guidance_scale_2,
        generator=torch.Generator("cpu").manual_seed(request.seed),
    ).frames[0]
    return (frames * 255).round().astype(np.uint8)[: request.num_frames]


@pytest.fixture
def forwards() -> Callable[[Any], list[str]]:
    """`forwards(pipe)` is a list that grows by "high" or "low" whenever that expert runs."""

    def count(pipe: Any) -> list[str]:
        calls: list[str] = []
        pipe.transformer.register_forward_pre_hook(lambda *_: calls.append("high"))
        pipe.transformer_2.register_forward_pre_hook(lambda *_: calls.append("low"))
        return calls

    return count


@pytest.fixture(scope="session")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    tiny_pipeline().save_pretrained(folder, max_shard_size="30KB")
    return folder


@pytest.fixture
def saved(saved_once: Path, tmp_path: Path) -> Path:
    """The tiny pipeline as files, in the layout of the official repository: fp32 shards, `model_index.json`."""
    return Path(shutil.copytree(saved_once, tmp_path / "saved"))
