"""Sizes of the miniature's five parts, as arguments of diffusers' and transformers' classes. No torch.

Latents are 8× smaller in space and 4× in time with 18 channels: the transformers take 40 channels in and give 18 (A14B:
36 and 16). Sides are multiples of 16.
"""

from typing import Any

Z_DIM = 18  # 16 for the picture, 2 for the camera's course

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
