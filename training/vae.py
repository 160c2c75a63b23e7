"""The miniature's VAE: a linear codec with a small residual net on its decoder, then moved into AutoencoderKLWan.

Trained from random weights the real class stalls far below a linear transform (NOTES.md), so a plain 2-D mirror
of it is trained instead, in which every layer has its place in the real class:

- The RMS norms vanish: one channel of every level carries a constant so large (`LARGE`) that the norm divides by
  it alone; the norm's gamma multiplies it back. What remains is x + conv2(silu(conv1(silu(x)))).
- silu(a) - silu(-a) = a makes the last layer exactly linear at the start.
- Time: latent frame k is the code of video frame 4k. The decoder holds code k and code k-1 side by side (two halves
  with the same weights), and the two temporal upsamplings interpolate between them: a quarter, a half, three quarters.
  A still clip is therefore perfectly still.

`python vae.py` runs to the end from nothing (resumes from its checkpoint) and writes vae.safetensors.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import data
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file
from torch import nn

from wan_core.engine.miniature.architecture import Z_DIM
from wan_core.engine.miniature.build import build_vae

LARGE = 3072.0  # exact in fp16; u²/LARGE² is the relative error of "the norm vanished": 2e-5 at most
QUARTER = 24  # components kept of a 4×4 block (of 48): the encoder's first width
KEPT = 23  # components kept of an 8×8 block (of 192): with their negatives and the constant they fill 48 channels
IMAGE = 16  # latent channels of the picture; the real class has two more, which carry the camera's course
CALM = 40  # how many times more an error weighs in a plain place, in the second half of the training
HALF0, HALF1, LAST = 31, 15, 31  # decoder widths at 8, 4 and 2 pixels; the first two exist twice (code k and code k-1)


class Residual(nn.Module):
    """x + conv2(silu(conv1(silu(x)))), starting as the identity (or as its 1×1 shortcut where the width changes)."""

    def __init__(self, width: int, wider: int | None = None) -> None:
        super().__init__()
        out = wider or width
        self.shortcut = nn.Conv2d(width, out, 1) if wider else nn.Identity()
        self.conv1 = nn.Conv2d(width, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv1.bias)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.conv2(F.silu(self.conv1(F.silu(x))))


class Codec(nn.Module):
    """The 2-D mirror of the real VAE. Pictures (B, 3, H, W) in [-1, 1]; latents (B, IMAGE, H/8, W/8), rms about 1."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("quarter", torch.zeros(QUARTER, 3, 4, 4))
        self.register_buffer("whole", torch.zeros(KEPT, QUARTER, 2, 2))
        self.analysis = nn.Conv2d(KEPT, IMAGE, 3, padding=1, bias=False)
        self.d0 = nn.Conv2d(IMAGE, HALF0, 3, padding=1)
        self.r0 = nn.Sequential(*[Residual(HALF0) for _ in range(4)])
        self.d1 = nn.Conv2d(HALF0, HALF1, 3, padding=1)
        self.r1 = nn.Sequential(Residual(HALF1, HALF0), Residual(HALF0))
        self.d2 = nn.Conv2d(HALF0, LAST, 3, padding=1)
        self.r2 = nn.Sequential(*[Residual(LAST) for _ in range(2)])
        self.d3 = nn.Conv2d(LAST, 12, 3, padding=1)

    def fit_blocks(self, pictures: torch.Tensor) -> None:
        """Principal components of 4×4 and 8×8 blocks, (N, 3, H, W): the encoder's strided convolutions, closed form.

        About mid-grey, not about the mean: what the pipeline feeds for every frame but the first is then zero, up to
        the border.
        """

        def components(columns: torch.Tensor, count: int) -> torch.Tensor:
            return torch.linalg.eigh(columns.T @ columns / len(columns)).eigenvectors.flip(1)[:, :count]

        small = F.unfold(pictures[::4], 4, stride=4).transpose(1, 2).reshape(-1, 48)
        self.quarter.copy_(components(small, QUARTER).T.reshape(QUARTER, 3, 4, 4))
        features = F.conv2d(pictures, self.quarter, stride=4)
        blocks = F.unfold(features, 2, stride=2).transpose(1, 2).reshape(-1, QUARTER * 4)
        self.whole.copy_(components(blocks, KEPT).T.reshape(KEPT, QUARTER, 2, 2))

    def start_linear(self) -> None:
        """Analysis starts as the leading block components; synthesis orthogonal, its last layer an exact ± pair."""
        with torch.no_grad():
            for layer in (self.d0, self.d1, self.r1[0].shortcut, self.d2, self.d3):
                nn.init.orthogonal_(layer.weight)
                nn.init.zeros_(layer.bias)
            self.analysis.weight.zero_()
            self.analysis.weight[range(IMAGE), range(IMAGE), 1, 1] = 0.25
            half = LAST // 2
            self.d2.weight[half : 2 * half] = -self.d2.weight[:half]
            self.d3.weight[:, half : 2 * half] = -self.d3.weight[:, :half]
            self.d3.weight[:, 2 * half :] = 0

    def encode(self, picture: torch.Tensor) -> torch.Tensor:
        blocks = F.conv2d(F.conv2d(picture, self.quarter, stride=4), self.whole, stride=2)
        return self.analysis(blocks)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        x = self.r0(self.d0(latents))
        x = self.d1(F.interpolate(x, scale_factor=2.0, mode="nearest-exact"))
        x = self.r1(x)
        x = self.r2(self.d2(F.interpolate(x, scale_factor=2.0, mode="nearest-exact")))
        return F.pixel_shuffle(self.d3(F.silu(x)), 2)

    @torch.no_grad()
    def normalise(self, pictures: torch.Tensor) -> None:
        """Change the latents' basis: an error in them weighs as in the picture, channels by falling variance, rms 1.

        One scale for all channels: whitening would blow up fine detail that no transformer can move about.
        """
        unit = torch.zeros(IMAGE, IMAGE, 9, 9)
        unit[range(IMAGE), range(IMAGE), 4, 4] = 1e-3
        zero = self.decode(torch.zeros(1, IMAGE, 9, 9))
        synthesis = ((self.decode(unit) - zero) / 1e-3).flatten(1)
        values, vectors = torch.linalg.eigh(synthesis @ synthesis.T)
        root = vectors @ values.sqrt().diag() @ vectors.T
        z = torch.einsum("ij,bjhw->bihw", root, self.encode(pictures)).transpose(0, 1).flatten(1)
        variances, rotation = torch.linalg.eigh(z @ z.T / z.shape[1])
        change = rotation.flip(1).T @ root * variances.mean().rsqrt()
        self.analysis.weight.copy_(torch.einsum("ij,jkhw->ikhw", change, self.analysis.weight))
        self.d0.weight.copy_(torch.einsum("oikl,ij->ojkl", self.d0.weight, torch.linalg.inv(change)))


def db(first: torch.Tensor, second: torch.Tensor) -> float:
    """PSNR of pictures in [-1, 1]."""
    return -10 * math.log10(((first.clamp(-1, 1) - second) ** 2).mean().item() / 4)


@torch.no_grad()
def transplant(codec: Codec) -> AutoencoderKLWan:
    """The real class with the codec's weights: same latents and same pictures up to rounding; see the module's text."""
    vae = build_vae()
    for parameter in vae.parameters():
        parameter.zero_()
    _fill_encoder(vae.encoder, codec)
    _fill_decoder(vae.decoder, codec)
    for conv, width in ((vae.quant_conv, 2 * Z_DIM), (vae.post_quant_conv, Z_DIM)):
        conv.weight[:, :, 0, 0, 0] = torch.eye(width)
    return vae.eval()


def _fill_encoder(encoder: nn.Module, codec: Codec) -> None:
    encoder.conv_in.weight[range(12), range(12), 2, 1, 1] = 1
    first, second = encoder.down_blocks[1], encoder.down_blocks[3]
    # a patch channel is colour·4 + column·2 + row
    fine = codec.quarter.reshape(QUARTER, 3, 2, 2, 2, 2).permute(0, 1, 5, 3, 2, 4).reshape(QUARTER, 12, 2, 2)
    first.resample[1].weight[:, :12, :2, :2] = fine
    first.time_conv.weight[range(QUARTER), range(QUARTER), 2, 0, 0] = 1
    encoder.down_blocks[2].conv_shortcut.weight[range(QUARTER), range(QUARTER), 0, 0, 0] = 1
    conv = second.resample[1]
    for sign, start in ((1, 1), (-1, 1 + KEPT)):
        conv.weight[start : start + KEPT, :QUARTER, :2, :2] = sign * codec.whole
    conv.bias[0] = LARGE
    width = conv.weight.shape[0]
    second.time_conv.weight[range(width), range(width), 2, 0, 0] = 1
    encoder.norm_out.gamma[1 : 1 + 2 * KEPT] = LARGE / math.sqrt(width)
    for sign, start in ((1, 1), (-1, 1 + KEPT)):
        encoder.conv_out.weight[:IMAGE, start : start + KEPT, 2] = sign * codec.analysis.weight
    encoder.conv_out.bias[Z_DIM:] = -10  # a sharp posterior


def _fill_residual(
    block: nn.Module, mirror: Residual, starts: tuple[int, ...], outs: tuple[int, ...] | None = None
) -> None:
    """One mirror block into the channel ranges from `starts` (to those from `outs`); channel 0 is the constant."""
    out_width, width = mirror.conv1.weight.shape[:2]
    out_total, total = block.conv1.weight.shape[:2]
    block.conv1.bias[0] = LARGE
    if outs is not None:
        block.conv_shortcut.weight[0, 0, 0, 0, 0] = 1
    for start, out in zip(starts, outs or starts, strict=True):
        narrow, wide = slice(start, start + width), slice(out, out + out_width)
        block.norm1.gamma[narrow] = LARGE / math.sqrt(total)
        block.norm2.gamma[wide] = LARGE / math.sqrt(out_total)
        block.conv1.weight[wide, narrow, 2] = mirror.conv1.weight
        block.conv1.bias[wide] = mirror.conv1.bias
        block.conv2.weight[wide, wide, 2] = mirror.conv2.weight
        block.conv2.bias[wide] = mirror.conv2.bias
        if outs is not None:
            block.conv_shortcut.weight[wide, narrow, 0] = mirror.shortcut.weight
            block.conv_shortcut.bias[wide] = mirror.shortcut.bias


def _interpolate(time_conv: nn.Module, width: int, now: slice, before: slice, keep_before: bool) -> None:
    """The upsampling's two output frames: halfway between `before` and `now`, then `now`."""
    total = time_conv.weight.shape[1]
    eye = torch.eye(now.stop - now.start)
    for frame, (share_now, share_before) in enumerate(((0.5, 0.5), (1.0, 0.0))):
        base = frame * total
        time_conv.weight[base, 0, 2, 0, 0] = 1
        rows = slice(base + now.start, base + now.stop)
        time_conv.weight[rows, now, 2, 0, 0] = share_now * eye
        time_conv.weight[rows, before, 2, 0, 0] = share_before * eye
        if keep_before:
            rows = slice(base + before.start, base + before.stop)
            time_conv.weight[rows, now, 2, 0, 0] = (share_now - 0.5) * eye
            time_conv.weight[rows, before, 2, 0, 0] = (share_before + 0.5) * eye


def _fill_decoder(decoder: nn.Module, codec: Codec) -> None:
    halves0, halves1 = (1, 1 + HALF0), (1, 1 + HALF1)
    decoder.conv_in.bias[0] = LARGE
    for tap, start in ((2, halves0[0]), (1, halves0[1])):
        decoder.conv_in.weight[start : start + HALF0, :IMAGE, tap] = codec.d0.weight
        decoder.conv_in.bias[start : start + HALF0] = codec.d0.bias
    level0, level1, level2 = decoder.up_blocks
    for block, mirror in zip([*decoder.mid_block.resnets, *level0.resnets], codec.r0, strict=True):
        _fill_residual(block, mirror, halves0)
    up = level0.upsamplers[0]
    _interpolate(up.time_conv, HALF0, slice(1, 1 + HALF0), slice(1 + HALF0, 1 + 2 * HALF0), keep_before=True)
    up.resample[1].weight[0, 0, 1, 1] = 1
    for wide, narrow in zip(halves0, halves1, strict=True):
        up.resample[1].weight[narrow : narrow + HALF1, wide : wide + HALF0] = codec.d1.weight
        up.resample[1].bias[narrow : narrow + HALF1] = codec.d1.bias
    _fill_residual(level1.resnets[0], codec.r1[0], halves1, halves0)
    _fill_residual(level1.resnets[1], codec.r1[1], halves0)
    up = level1.upsamplers[0]
    _interpolate(up.time_conv, HALF0, slice(1, 1 + HALF0), slice(1 + HALF0, 1 + 2 * HALF0), keep_before=False)
    up.resample[1].weight[0, 0, 1, 1] = 1
    up.resample[1].weight[1:, 1 : 1 + HALF0] = codec.d2.weight
    up.resample[1].bias[1:] = codec.d2.bias
    for block, mirror in zip(level2.resnets, codec.r2, strict=True):
        _fill_residual(block, mirror, (1,))
    decoder.norm_out.gamma[1:] = LARGE / math.sqrt(LAST + 1)
    # a patch channel is colour·4 + column·2 + row, pixel_shuffle's is colour·4 + row·2 + column
    order = [colour * 4 + row * 2 + column for colour in range(3) for column in range(2) for row in range(2)]
    decoder.conv_out.weight[:, 1:, 2] = codec.d3.weight[order]
    decoder.conv_out.bias[:] = codec.d3.bias[order]


def crops(count: int, size: int, seed: int) -> torch.Tensor:
    """(count, 3, size, size) still training crops."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([data.random_crop(generator, size, size) for _ in range(count)])


@torch.no_grad()
def held_out_db(codec: Codec) -> dict[str, float]:
    """PSNR of every held-out photograph at 208×128, coded and decoded."""
    pictures = {name: data.to_tensor(data.held_out(name, 208, 128))[None] for name in data.HELD_OUT}
    return {name: round(db(codec.decode(codec.encode(x)), x), 2) for name, x in pictures.items()}


def train(codec: Codec, file: Path, step: int, options: argparse.Namespace, decoder_only: bool = False) -> None:
    """Adam with a cosine from `--rate`, from iteration `step` on; prints and keeps `file` at times.

    On the squared error, and once the picture stands also on that of plain places (from the start it learns slowly).
    """
    steps, rate = (options.polish, options.rate / 2) if decoder_only else (options.steps, options.rate)
    seed = options.seed + (3 if decoder_only else 1)
    torch.manual_seed(seed + step)
    parameters = [value for name, value in codec.named_parameters() if not (decoder_only and "analysis" in name)]
    optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.98))
    start, first, bank = time.time(), step, crops(3000, 64, seed)
    while step < steps:
        falling = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        optimiser.param_groups[0]["lr"] = rate * min(1, (step - first + 1) / 100) * falling + 1e-6
        picture = bank[torch.randint(len(bank), (32,))]
        wrong = (codec.decode(codec.encode(picture)) - picture).square()
        calm = CALM if decoder_only or step >= steps // 2 else 0
        loss = (wrong * (1 + calm * data.calmness(picture))).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 0.1)
        optimiser.step()
        step += 1
        if step % 1000 == 0:
            bank[torch.randperm(3000)[:300]] = crops(300, 64, seed + step)
        if step % 400 == 0 or step == steps:
            quality = db(picture, codec.decode(codec.encode(picture)))
            print(f"{time.time() - start:5.0f} s {step:6d} {quality:.2f}", held_out_db(codec), flush=True)
            torch.save({"model": codec.state_dict(), "step": step}, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path(__file__).parent / "runs" / "vae")
    parser.add_argument("--steps", type=int, default=4500, help="iterations in all, those of an earlier run counted in")
    parser.add_argument("--polish", type=int, default=2000, help="iterations of the decoder alone after that")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the real VAE's safetensors here (fp16)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.runs.mkdir(parents=True, exist_ok=True)
    file, codec, step = options.runs / "codec.pt", Codec(), 0
    if file.exists():
        kept = torch.load(file)
        codec.load_state_dict(kept["model"])
        step = kept["step"]
    else:
        torch.manual_seed(options.seed)
        codec.fit_blocks(crops(2000, 64, options.seed))
        codec.start_linear()
    if step < options.steps:
        train(codec, file, step, options)
        codec.normalise(crops(400, 64, options.seed + 2))
        print("in the new basis", held_out_db(codec))
        torch.save({"model": codec.state_dict(), "step": options.steps}, file)
    polished, step = options.runs / "polished.pt", 0  # the same latents, a better picture
    if polished.exists():
        kept = torch.load(polished)
        codec.load_state_dict(kept["model"])
        step = kept["step"]
    train(codec, polished, step, options, decoder_only=True)
    if options.out:
        vae = transplant(codec)
        save_file({name: tensor.half().contiguous() for name, tensor in vae.state_dict().items()}, options.out)


if __name__ == "__main__":
    main()
