"""Decode latents one latent frame at a time.

`AutoencoderKLWan.decode` only collects what its causal decoder gives. Taking the pieces in turn is bit-identical, shows
progress, can be cancelled and never holds the whole clip. The tiled path has no pieces.
"""

from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

from wan_core.frames import Frames


class NotFinite(ArithmeticError):
    """The numbers hold NaN or infinity."""


def iter_decoded(vae: Any, latents: torch.Tensor) -> Iterator[Frames]:
    """Normalised latents (1, z, T, h, w) → frames of each latent frame: 1, then 4 each.

    Raises:
        NotFinite: a frame holds NaN or infinity.
    """
    if hasattr(vae, "_hf_hook") and hasattr(vae._hf_hook, "pre_forward"):
        vae._hf_hook.pre_forward(vae)  # as diffusers' apply_forward_hook does for decode()
    with torch.no_grad():
        for piece in _pieces(vae, _denormalize(vae, latents)):
            yield _as_uint8(piece)


def _denormalize(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Bit-identical to the pipeline's arithmetic."""
    latents = latents.to(vae.post_quant_conv.weight.device, vae.dtype)
    mean, std = (
        torch.tensor(numbers).view(1, -1, 1, 1, 1).to(latents.device, latents.dtype)
        for numbers in (vae.config.latents_mean, vae.config.latents_std)
    )
    return latents / (1.0 / std) + mean


def _pieces(vae: Any, latents: torch.Tensor) -> Iterator[torch.Tensor]:
    """(1, 3, t, H, W) in [-1, 1], t = 1 and then 4 each; all at once if the VAE tiles."""
    if vae.use_tiling:
        yield vae.decode(latents, return_dict=False)[0]
        return
    vae.clear_cache()
    latents = vae.post_quant_conv(latents)
    for index in range(latents.shape[2]):
        vae._conv_idx = [0]
        piece = vae.decoder(
            latents[:, :, index : index + 1], feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=index == 0
        )
        if vae.config.patch_size is not None:
            piece = unpatchify(piece, patch_size=vae.config.patch_size)
        yield piece.clamp(-1, 1)
    vae.clear_cache()


def _as_uint8(piece: torch.Tensor) -> Frames:
    if not torch.isfinite(piece).all():
        raise NotFinite
    pixels = (piece[0].permute(1, 2, 3, 0) * 0.5 + 0.5).clamp(0, 1).mul(255).round()
    frames: Frames = pixels.to(torch.uint8).cpu().numpy()
    return frames
