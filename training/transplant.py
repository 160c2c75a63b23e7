"""Moves a `Codec` exactly into diffusers' AutoencoderKLWan: same latents, same pictures, up to rounding.

- The RMS norms vanish: one channel of every level carries a constant so large (`LARGE`) that the norm divides by it
  alone; the norm's gamma multiplies it back. What remains is x + conv2(silu(conv1(silu(x)))).
- Time: latent frame k is the code of video frame 4k. The decoder holds code k and code k-1 side by side (two halves
  with the same weights), and the two temporal upsamplings interpolate between them: a quarter, a half, three quarters.
  A still clip is therefore perfectly still.
- Convolutions over time only use their last tap, the frame itself; `conv_in` of the decoder uses the one before, too.
"""

from __future__ import annotations

import math

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    WanCausalConv3d,
    WanDecoder3d,
    WanEncoder3d,
    WanResidualBlock,
    WanUpsample,
)
from torch import nn

from training.codec import HALF0, HALF1, IMAGE_DIM, KEPT, LAST, QUARTER, Codec, Residual, residuals
from wan_core.engine.miniature import architecture, build

LARGE = 3072.0  # exact in fp16; u²/LARGE² is the relative error of "the norm vanished": 2e-5 at most
SHARP = -10  # log variance of the encoder's posterior
NOW, BEFORE = 2, 1  # taps of a causal convolution over time


@torch.no_grad()
def transplant(codec: Codec) -> AutoencoderKLWan:
    """The real class with the codec's weights."""
    vae = build.build_vae()
    for parameter in vae.parameters():
        parameter.zero_()
    _fill_encoder(vae.encoder, codec)
    _fill_decoder(vae.decoder, codec)
    for conv, width in ((vae.quant_conv, 2 * architecture.Z_DIM), (vae.post_quant_conv, architecture.Z_DIM)):
        conv.weight[:, :, 0, 0, 0] = torch.eye(width)
    return vae.eval()


def _fill_encoder(encoder: WanEncoder3d, codec: Codec) -> None:
    encoder.conv_in.weight[range(12), range(12), NOW, 1, 1] = 1
    first, second = encoder.down_blocks[1], encoder.down_blocks[3]
    # a patch channel is colour·4 + column·2 + row
    fine = codec.quarter.reshape(QUARTER, 3, 2, 2, 2, 2).permute(0, 1, 5, 3, 2, 4).reshape(QUARTER, 12, 2, 2)
    first.resample[1].weight[:, :12, :2, :2] = fine
    first.time_conv.weight[range(QUARTER), range(QUARTER), NOW, 0, 0] = 1
    encoder.down_blocks[2].conv_shortcut.weight[range(QUARTER), range(QUARTER), 0, 0, 0] = 1
    conv = second.resample[1]
    for sign, start in ((1, 1), (-1, 1 + KEPT)):
        conv.weight[start : start + KEPT, :QUARTER, :2, :2] = sign * codec.whole
        encoder.conv_out.weight[:IMAGE_DIM, start : start + KEPT, NOW] = sign * codec.analysis.weight
    conv.bias[0] = LARGE
    width = conv.weight.shape[0]
    second.time_conv.weight[range(width), range(width), NOW, 0, 0] = 1
    encoder.norm_out.gamma[1 : 1 + 2 * KEPT] = LARGE / math.sqrt(width)
    encoder.conv_out.bias[architecture.Z_DIM :] = SHARP


def _fill_decoder(decoder: WanDecoder3d, codec: Codec) -> None:
    """Channel 0 of every level is the constant; code k and, where there are two, code k-1 follow."""
    halves0, halves1 = (1, 1 + HALF0), (1, 1 + HALF1)
    decoder.conv_in.bias[0] = LARGE
    for tap, start in zip((NOW, BEFORE), halves0, strict=True):
        decoder.conv_in.weight[start : start + HALF0, :IMAGE_DIM, tap] = codec.d0.weight
        decoder.conv_in.bias[start : start + HALF0] = codec.d0.bias
    level0, level1, level2 = decoder.up_blocks
    for block, mirror in zip([*decoder.mid_block.resnets, *level0.resnets], residuals(codec.r0), strict=True):
        _fill_residual(block, mirror, halves0)
    _fill_upsampler(level0.upsamplers[0], codec.d1, halves1, keep_before=True)
    widen, plain = residuals(codec.r1)
    _fill_residual(level1.resnets[0], widen, halves1, halves0)
    _fill_residual(level1.resnets[1], plain, halves0)
    _fill_upsampler(level1.upsamplers[0], codec.d2, (1,), keep_before=False)
    for block, mirror in zip(level2.resnets, residuals(codec.r2), strict=True):
        _fill_residual(block, mirror, (1,))
    decoder.norm_out.gamma[1:] = LARGE / math.sqrt(LAST + 1)
    # a patch channel is colour·4 + column·2 + row, pixel_shuffle's is colour·4 + row·2 + column
    order = [colour * 4 + row * 2 + column for colour in range(3) for column in range(2) for row in range(2)]
    assert codec.d3.bias is not None
    decoder.conv_out.weight[:, 1:, NOW] = codec.d3.weight[order]
    decoder.conv_out.bias[:] = codec.d3.bias[order]


def _fill_residual(
    block: WanResidualBlock, mirror: Residual, starts: tuple[int, ...], outs: tuple[int, ...] | None = None
) -> None:
    """One mirror block into the channel ranges from `starts` (to those from `outs`)."""
    out_width, width = mirror.conv1.weight.shape[:2]
    out_total, total = block.conv1.weight.shape[:2]
    block.conv1.bias[0] = LARGE
    for start, out in zip(starts, outs or starts, strict=True):
        narrow, wide = slice(start, start + width), slice(out, out + out_width)
        block.norm1.gamma[narrow] = LARGE / math.sqrt(total)
        block.norm2.gamma[wide] = LARGE / math.sqrt(out_total)
        block.conv1.weight[wide, narrow, NOW] = mirror.conv1.weight
        block.conv1.bias[wide] = mirror.conv1.bias
        block.conv2.weight[wide, wide, NOW] = mirror.conv2.weight
        block.conv2.bias[wide] = mirror.conv2.bias
        if isinstance(mirror.shortcut, nn.Conv2d):
            block.conv_shortcut.weight[0, 0, 0, 0, 0] = 1
            block.conv_shortcut.weight[wide, narrow, 0] = mirror.shortcut.weight
            block.conv_shortcut.bias[wide] = mirror.shortcut.bias


def _fill_upsampler(up: WanUpsample, conv: nn.Conv2d, outs: tuple[int, ...], keep_before: bool) -> None:
    """Two frames for one, then `conv` at twice the size, into the channels from `outs`."""
    _interpolate(up.time_conv, keep_before)
    target = up.resample[1]
    target.weight[0, 0, 1, 1] = 1
    for start, out in zip((1, 1 + HALF0), outs, strict=False):
        target.weight[out : out + conv.out_channels, start : start + HALF0] = conv.weight
        target.bias[out : out + conv.out_channels] = conv.bias


def _interpolate(time_conv: WanCausalConv3d, keep_before: bool) -> None:
    """The upsampling's two output frames: halfway between code k-1 and code k, then code k.

    `keep_before`: the second half goes on to hold the frame before each of them.
    """
    now, before = slice(1, 1 + HALF0), slice(1 + HALF0, 1 + 2 * HALF0)
    total = time_conv.weight.shape[1]
    eye = torch.eye(HALF0)
    for frame, (share_now, share_before) in enumerate(((0.5, 0.5), (1.0, 0.0))):
        base = frame * total
        time_conv.weight[base, 0, NOW, 0, 0] = 1
        rows = slice(base + now.start, base + now.stop)
        time_conv.weight[rows, now, NOW, 0, 0] = share_now * eye
        time_conv.weight[rows, before, NOW, 0, 0] = share_before * eye
        if keep_before:
            rows = slice(base + before.start, base + before.stop)
            time_conv.weight[rows, now, NOW, 0, 0] = (share_now - 0.5) * eye
            time_conv.weight[rows, before, NOW, 0, 0] = (share_before + 0.5) * eye
