"""The sizes of the miniature and how its five parts are built: the real diffusers and transformers classes, small.

Knows no training and no request. Latents are 8× smaller in space and 4× in time with 18 channels, so the transformers
take 40 channels in and give 18 (A14B: 36 and 16). Any width and height in multiples of 16 work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from safetensors.torch import load_file
from tokenizers import normalizers
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

Z_DIM = 18  # 16 for the picture, 2 for the camera's course
SEED = 20250728  # the day Wan 2.2 was published
PARTS = ("vae", "text_encoder", "transformer", "transformer_2")

VAE: dict[str, Any] = {
    "base_dim": 24,
    "decoder_base_dim": 32,
    "z_dim": Z_DIM,
    "dim_mult": [1, 2, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [True, True],
    "in_channels": 12,  # 3 colours × patches of 2×2
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 8,
    "scale_factor_temporal": 4,
    "latents_mean": [0.0] * Z_DIM,  # the encoder's weights contain the scale
    "latents_std": [1.0] * Z_DIM,
}

EXPERT: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 5,
    "attention_head_dim": 48,
    "in_channels": 2 * Z_DIM + 4,  # noisy latents, four mask channels, the first picture's latents
    "out_channels": Z_DIM,
    "text_dim": 64,
    "freq_dim": 256,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "rope_max_seq_len": 128,
}

# the high-noise expert only decides where the camera goes; the low-noise expert moves the picture
HIGH_NOISE: dict[str, Any] = {**EXPERT, "num_layers": 1, "ffn_dim": 64}
LOW_NOISE: dict[str, Any] = {**EXPERT, "num_layers": 3, "ffn_dim": 1408}

TEXT_ENCODER: dict[str, Any] = {
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
}

SCHEDULER: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 5.0}


def build_tokenizer(words: list[str]) -> T5TokenizerFast:
    """A unigram tokenizer of whole lower-case words; what it does not know becomes `<unk>`."""
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


def build(folder: Path) -> WanImageToVideoPipeline:
    """The pipeline from `folder`: `words.txt` and, for each part that has one, `<part>.safetensors` (any float type).

    Parts without a file keep seeded random weights; the caller's random state is left as it was.
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
    """Fill `model` from `file`; every tensor must be there and none left over."""
    tensors = {name: tensor.float() for name, tensor in load_file(file).items()}
    model.load_state_dict(tensors)
