"""Makes the miniature's two experts: both are constructed (`construct.py`), the low-noise one is then trained.

`python -m training.dit low` trains, and goes on from `<runs>/low.pt`; it needs the codec that `training.vae` left in
`<runs>/vae`. `python -m training.dit high` only constructs. Training takes a CUDA card if there is one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from training import RUNS
from training.codec import Codec
from training.construct import Effort, construct_high_noise, construct_low_noise
from training.low_noise import Training, copy_tensors, train
from training.shift import PICTURES
from training.units import FIT_STEPS
from training.vae import load_checkpoint
from wan_core.engine.miniature import architecture, build


def save(model: WanTransformer3DModel, file: Path) -> None:
    """fp16, but for the time layers and the last one: their weights cancel each other."""
    exact = ("time_embedder", "proj_out")
    tensors = {
        name: (tensor if any(part in name for part in exact) else tensor.half()).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(tensors, file)


def make_low_noise(codec: Codec, training: Training, effort: Effort) -> WanTransformer3DModel:
    """Train to the end from the checkpoint, or from the construction; return the averaged weights."""
    if not training.file.exists():
        start = copy_tensors(construct_low_noise(codec, effort))
        torch.save({"model": start, "average": start, "step": 0}, training.file)
    checkpoint = torch.load(training.file)
    model = build.build_transformer(architecture.LOW_NOISE)
    model.load_state_dict(checkpoint["model"])
    train(model, codec, training, checkpoint["step"])
    model = build.build_transformer(architecture.LOW_NOISE)
    model.load_state_dict(torch.load(training.file)["average"])
    return model


def parse_sizes(text: str) -> list[tuple[int, int]]:
    """ "160x96,208x128" → widths and heights in pixels; ValueError for anything else."""
    pairs = [size.split("x") for size in text.split(",")]
    return [(int(width), int(height)) for width, height in pairs]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("expert", choices=("high", "low"))
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--steps", type=int, default=2000, help="iterations in all, those of an earlier run counted in")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=3, help="frames of a clip besides the first, of 20")
    parser.add_argument("--sizes", type=parse_sizes, default=[(160, 96)])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="moved pictures that the construction looks at")
    parser.add_argument("--fit-steps", type=int, default=FIT_STEPS, help="iterations for each constructed function")
    parser.add_argument("--out", type=Path, help="write safetensors (fp16) here")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    torch.set_num_threads(1)
    if options.expert == "high":
        model = construct_high_noise()  # whole as it is constructed: there is nothing left for training to find
    else:
        codec = Codec()
        load_checkpoint(options.runs / "vae" / "codec.pt", codec)
        codec.requires_grad_(False)
        values = {name: getattr(options, name) for name in ("steps", "rate", "batch", "frames", "sizes", "seed")}
        effort = Effort(options.pictures, options.fit_steps)
        model = make_low_noise(codec, Training(file=options.runs / "low.pt", **values), effort)
    if options.out:
        save(model, options.out)


if __name__ == "__main__":
    main()
