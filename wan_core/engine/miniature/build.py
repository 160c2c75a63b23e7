"""Build the miniature in the sizes of `architecture`.

Nothing is downloaded: weights lie beside this file; parts without them are seeded and random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from safetensors.torch import load_file
from tokenizers import normalizers
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

from wan_core.engine.miniature import FOLDER
from wan_core.engine.miniature.architecture import HIGH_NOISE, LOW_NOISE, SCHEDULER, TEXT_ENCODER, VAE

SEED = 20250728  # the day Wan 2.2 was published


def build_tokenizer(words: list[str]) -> T5TokenizerFast:
    """Whole lower-case words; unknown ones become `<unk>`."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -8.0)]
    pieces += [(mark, -6.0) for mark in ",.!?;:'\"()-"]
    pieces += [("▁" + word, -4.0) for word in words]
    tokenizer = T5TokenizerFast(vocab=pieces, extra_ids=0)
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    return tokenizer


def build_vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(**VAE)


def build_text_encoder(vocabulary: int) -> UMT5EncoderModel:
    return UMT5EncoderModel(UMT5Config(vocab_size=vocabulary, **TEXT_ENCODER))


def build_transformer(sizes: dict[str, Any]) -> WanTransformer3DModel:
    return WanTransformer3DModel(**sizes)


def build_pipeline(folder: Path = FOLDER) -> WanImageToVideoPipeline:
    """Return the pipeline in fp32 on the CPU, the same at every call.

    `folder` holds `words.txt` and `<part>.safetensors` (any float type) of trained parts. The caller's random state is
    kept.
    """
    words = (folder / "words.txt").read_text(encoding="utf-8").split()
    tokenizer = build_tokenizer(words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        models = {
            "vae": build_vae(),
            "text_encoder": build_text_encoder(len(tokenizer)),
            "transformer": build_transformer(HIGH_NOISE),
            "transformer_2": build_transformer(LOW_NOISE),
        }
    for part, model in models.items():
        file = folder / f"{part}.safetensors"
        if file.exists():
            load_weights(model, file)
        model.requires_grad_(False).eval()
    scheduler = UniPCMultistepScheduler(**SCHEDULER)
    return WanImageToVideoPipeline(
        tokenizer=tokenizer, scheduler=scheduler, image_encoder=None, image_processor=None, boundary_ratio=0.9, **models
    )


def load_weights(model: torch.nn.Module, file: Path) -> None:
    """RuntimeError if a tensor is missing or left over."""
    tensors = {name: tensor.float() for name, tensor in load_file(file).items()}
    model.load_state_dict(tensors)
