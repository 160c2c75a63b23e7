"""Trains the miniature's VAE as a 2-D `Codec` and writes it as AutoencoderKLWan's weights.

`python -m training.vae --out FILE` runs from nothing to the end, and goes on from its checkpoints in `--runs`:
`codec.pt`, trained as a whole and in its final basis, and `polished.pt`, whose decoder alone was trained further.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from training import RUNS
from training.codec import Codec, psnr
from training.moving_pictures import HELD_OUT, plainness, random_crop, read_held_out, to_tensor
from training.transplant import transplant

PLAIN_WEIGHT = 40  # how many times more an error weighs in a plain place, in the second half of the training
CROP = 64
BATCH = 32
REPORT_EVERY, REFRESH_EVERY = 400, 1000  # iterations


@dataclass(frozen=True)
class Phase:
    """One run of Adam with a falling cosine, to iteration `steps`, kept in `file`."""

    file: Path
    steps: int
    rate: float
    seed: int
    crops: int  # in memory; a tenth is replaced from time to time
    decoder_only: bool

    def learning_rate(self, step: int, first: int) -> float:
        falling = 0.5 + 0.5 * math.cos(math.pi * step / self.steps)
        return self.rate * min(1, (step - first + 1) / 100) * falling + 1e-6

    def plain_weight(self, step: int) -> int:
        """Plain places weigh more in the second half only: from the start, learning is slow."""
        return PLAIN_WEIGHT if self.decoder_only or step >= self.steps // 2 else 0

    def parameters(self, codec: Codec) -> list[nn.Parameter]:
        return [value for name, value in codec.named_parameters() if not (self.decoder_only and "analysis" in name)]


def draw_crops(count: int, seed: int) -> torch.Tensor:
    """(count, 3, CROP, CROP) still training crops."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([random_crop(generator, CROP, CROP) for _ in range(count)])


@torch.no_grad()
def held_out_psnr(codec: Codec) -> dict[str, float]:
    """dB of every held-out photograph at 208×128, coded and decoded."""
    pictures = {name: to_tensor(read_held_out(name, 208, 128))[None] for name in HELD_OUT}
    return {name: round(psnr(codec.decode(codec.encode(x)), x), 2) for name, x in pictures.items()}


def train(codec: Codec, phase: Phase, step: int) -> None:
    """On the squared error, plain places weighing more, from iteration `step` on; prints and keeps `file` at times."""
    torch.manual_seed(phase.seed + step)
    parameters = phase.parameters(codec)
    optimiser = torch.optim.Adam(parameters, lr=phase.rate, betas=(0.9, 0.98))
    start, first, bank = time.time(), step, draw_crops(phase.crops, phase.seed)
    while step < phase.steps:
        optimiser.param_groups[0]["lr"] = phase.learning_rate(step, first)
        picture = bank[torch.randint(len(bank), (BATCH,))]
        wrong = (codec.decode(codec.encode(picture)) - picture).square()
        loss = (wrong * (1 + phase.plain_weight(step) * plainness(picture))).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, 0.1)
        optimiser.step()
        step += 1
        if step % REFRESH_EVERY == 0:
            replaced = phase.crops // 10
            bank[torch.randperm(phase.crops)[:replaced]] = draw_crops(replaced, phase.seed + step)
        if step % REPORT_EVERY == 0 or step == phase.steps:
            quality = psnr(picture, codec.decode(codec.encode(picture)))
            print(f"{time.time() - start:5.0f} s {step:6d} {quality:.2f}", held_out_psnr(codec), flush=True)
            save_checkpoint(phase.file, codec, step)


def save_checkpoint(file: Path, codec: Codec, step: int) -> None:
    torch.save({"model": codec.state_dict(), "step": step}, file)


def load_checkpoint(file: Path, codec: Codec) -> int:
    """Fill `codec`; return the checkpoint's iteration."""
    checkpoint = torch.load(file)
    codec.load_state_dict(checkpoint["model"])
    return int(checkpoint["step"])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RUNS / "vae")
    parser.add_argument("--steps", type=int, default=4500, help="iterations in all, those of an earlier run counted in")
    parser.add_argument("--polish", type=int, default=2000, help="iterations of the decoder alone after that")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crops", type=int, default=3000, help="training crops held in memory")
    parser.add_argument("--fitted", type=int, default=2000, help="training crops for what is found in closed form")
    parser.add_argument("--out", type=Path, help="write the real VAE's safetensors here (fp16)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    torch.set_num_threads(1)
    options.runs.mkdir(parents=True, exist_ok=True)
    seed, crops = options.seed, options.crops
    whole = Phase(options.runs / "codec.pt", options.steps, options.rate, seed + 1, crops, decoder_only=False)
    polish = Phase(options.runs / "polished.pt", options.polish, options.rate / 2, seed + 3, crops, decoder_only=True)
    torch.manual_seed(seed)
    codec, step = Codec(), 0
    if whole.file.exists():
        step = load_checkpoint(whole.file, codec)
    else:
        codec.fit_blocks(draw_crops(options.fitted, seed))
        codec.start_linear()
    if step < whole.steps:
        train(codec, whole, step)
        codec.normalise(draw_crops(options.fitted // 5, seed + 2))
        print("in the new basis", held_out_psnr(codec))
        save_checkpoint(whole.file, codec, whole.steps)
    train(codec, polish, load_checkpoint(polish.file, codec) if polish.file.exists() else 0)
    if options.out:
        vae = transplant(codec)
        save_file({name: tensor.half().contiguous() for name, tensor in vae.state_dict().items()}, options.out)


if __name__ == "__main__":
    main()
