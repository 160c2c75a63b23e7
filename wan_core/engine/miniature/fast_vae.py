"""The miniature's VAE made cheaper on a CPU, in place. Not for Wan's own VAE, not for a card.

Three shortcuts, measured on one core at 208×128. Convolutions go to oneDNN: PyTorch sends fp32 ones with few channels
to its slow kernel, 85 % of decoding (17 frames: 2.9 → 0.9 s; at most one grey level in 0.03 % of the values). Of the
picture and the black frames that the pipeline encodes only the first five are: the later latents are those of the fifth
to the last bit (81 frames: 4.6 → 0.1 s). Norms and paddings are made without copies, to the last bit.

So `acceleration=none` means for the miniature: plain diffusers, but for rounding here and in `fast_experts.py`.
"""

from types import MethodType
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanRMS_norm

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.timing import sampled_frames

ENCODED_FRAMES = 5  # the picture and four black frames: two latents
CHECKED_SIDE = 16


def speed_up(vae: Any) -> None:
    """All three.

    Raises:
        ValueError: this VAE's latents of black frames are not all alike.
    """
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # not on Apple's processors
        speed_up_layers(vae)
    repeat_latents_of_black_frames(vae)


def speed_up_layers(vae: Any) -> None:
    for module in vae.modules():
        if isinstance(module, WanCausalConv3d):
            module.forward = MethodType(_onednn_convolution, module)
        elif isinstance(module, WanRMS_norm):
            module.forward = MethodType(_normalize, module)


def repeat_latents_of_black_frames(vae: Any) -> None:
    """Lets `vae` encode a picture followed by black frames as five frames, and repeat the last latent.

    Raises:
        ValueError: its latents of black frames are not all alike (Wan's own still change at the twenty-first).
    """
    if not latents_of_black_frames_repeat(vae):
        raise ValueError("This VAE's latents of black frames differ, so they cannot be repeated.")
    encode = vae._encode

    def encode_and_repeat(video: torch.Tensor) -> torch.Tensor:
        if video.shape[2] <= ENCODED_FRAMES or video[:, :, 1:].any():
            return cast(torch.Tensor, encode(video))
        moments: torch.Tensor = encode(video[:, :, :ENCODED_FRAMES])
        missing = (video.shape[2] - ENCODED_FRAMES) // vae.config.scale_factor_temporal
        return torch.cat([moments, *[moments[:, :, -1:]] * missing], dim=2)

    vae._encode = encode_and_repeat


@torch.no_grad()
def latents_of_black_frames_repeat(vae: Any) -> bool:
    """Whether a random picture and black frames give, from the second on, the same latent to the last bit."""
    picture = torch.rand((1, 3, CHECKED_SIDE, CHECKED_SIDE), generator=torch.Generator().manual_seed(0))
    _, most = IMAGE_TO_VIDEO.bounds("num_frames") or (0, 0)
    video = torch.zeros(1, 3, sampled_frames(int(most)), CHECKED_SIDE, CHECKED_SIDE)
    video[:, :, 0] = 2 * picture - 1
    later: torch.Tensor = vae._encode(video)[:, :, 1:]
    return torch.equal(later, later[:, :, :1].expand_as(later))


def _onednn_convolution(self: Any, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
    """`WanCausalConv3d.forward` with one copy of `x` instead of three: behind what came before, channels last (a tenth
    cheaper, and the layers between keep that order).
    """
    width, _, height, _, before, _ = self._padding
    known = cache_x.shape[2] if cache_x is not None and before else 0
    shape = (*x.shape[:2], before + x.shape[2], *x.shape[3:])
    padded = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last_3d)
    padded[:, :, : before - known] = 0
    if cache_x is not None and known:
        padded[:, :, before - known : before] = cache_x
    padded[:, :, before:] = x
    padding = (0, height, width)
    return torch.mkldnn_convolution(padded, self.weight, self.bias, padding, self.stride, self.dilation, self.groups)


def _normalize(self: Any, x: torch.Tensor) -> torch.Tensor:
    """`WanRMS_norm.forward` of fp32 without its copies."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min_(1e-12)
    normalized: torch.Tensor = (x / length).mul_(self.scale).mul_(self.gamma).add_(self.bias)
    return normalized
