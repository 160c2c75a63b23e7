"""Trains the miniature's low-noise expert from its constructed start (`construct.py`), and writes both experts.

`python dit.py low` trains (and resumes), `python dit.py high` only constructs.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass
from pathlib import Path

import data
import torch
import torch.nn.functional as F
from channels import BESIDE, CALM, F0, GROWTH, PATTERN, PIXELS, PLUS, RY, SPECK, TAG, TAKE, WIDTH, ZERO
from construct import construct
from data import Motion
from diffusers import WanTransformer3DModel
from prompts import FAST, SLOW, Course
from safetensors.torch import save_file
from text import meaning
from torch import nn
from units import MARKS, RANK
from vae import IMAGE, Codec

from wan_core.engine.miniature.architecture import Z_DIM


class FramesRope(nn.Module):
    """The model's rotary embedding for a subset of the frames, at their true positions in a clip of 21."""

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope = rope
        self.frames: list[int] = list(range(21))

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        whole = torch.empty(1, 1, 21, *hidden.shape[3:], device="meta")
        tokens = (hidden.shape[3] // 2) * (hidden.shape[4] // 2)
        cos, sin = self.rope(whole)
        return tuple(part.unflatten(1, (21, tokens))[:, self.frames].flatten(1, 2) for part in (cos, sin))


def course_field(pan: float, tilt: float, zoom: float, height: int, width: int) -> torch.Tensor:
    """(2, height/8, width/8): what the course channels of a clip hold at every frame."""
    pattern = torch.tensor(PATTERN).view(2, 2).repeat(height // 16, width // 16)
    return TAG * torch.stack([pan + zoom * pattern, tilt + zoom * pattern])


def take(asked: Course, rng: random.Random) -> tuple[float, float, float]:
    """The course a camera takes when it is asked for one: no two takes are the same, but what shall rest rests."""
    speeds = (asked.pan, asked.tilt, asked.zoom)
    return tuple(speed + TAKE * rng.gauss(0, 1) if speed or not asked.named else 0.0 for speed in speeds)  # type: ignore


def make_noise(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Unit noise; the means that carry the course are as small as those of a whole clip, whatever the crop."""
    noise = torch.randn(like.shape, generator=generator)
    pattern = torch.tensor(PATTERN).view(2, 2).repeat(like.shape[3] // 2, like.shape[4] // 2)
    for wave in (torch.ones_like(pattern), pattern):
        course = noise[:, IMAGE:, 1:]
        wanted = SPECK * torch.randn(len(like), 2, 1, 1, 1, generator=generator)
        noise[:, IMAGE:, 1:] += (wanted - (course * wave).mean((2, 3, 4), keepdim=True)) * wave
    return noise


def random_course(rng: random.Random) -> Course:
    """Pans and tilts of any speed, zooms, and stills; now and then none at all said."""
    speed = rng.choice((rng.uniform(0.2, FAST), SLOW, 1.0, FAST)) * rng.choice((-1, 1))
    draw = rng.random()
    if draw < 0.3:
        return Course(pan=speed)
    if draw < 0.55:
        return Course(tilt=speed)
    if draw < 0.88:
        return Course(zoom=speed)
    return Course(named=draw < 0.94)


def make_batch(
    codec: Codec,
    generator: torch.Generator,
    rng: random.Random,
    size: tuple[int, int],
    frames: list[int],
    courses: list[Course],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents (B, 18, T, h, w), condition (B, 22, T, h, w) as the pipeline builds it, prompt states (B, 1, 64), and how
    plain every place is, (B, 1, T, h, w)."""
    width, height = size
    clips, fields, count = [], [], len(courses)
    for course in courses:
        pan, tilt, zoom = take(course, rng)
        motion = Motion(
            *(PIXELS * min(max(speed, -FAST), FAST) for speed in (pan, tilt)), min(max(zoom, -FAST), FAST) * GROWTH
        )
        picture = data.random_picture(generator, height + 24 * rng.randint(0, 1), width + 24 * rng.randint(0, 1))
        left, top = rng.randint(0, picture.shape[2] - width), rng.randint(0, picture.shape[1] - height)
        clips.append(data.moving_crop(picture, motion, frames, height, width, left, top))
        guided = rng.uniform(1, 4) if max(map(abs, (pan, tilt, zoom))) > FAST else 1.0
        fields.append(course_field(guided * pan, guided * tilt, guided * zoom, height, width))
    with torch.no_grad():
        pictures = torch.stack(clips).flatten(0, 1)
        coded, plain = (
            part.unflatten(0, (count, len(frames))).transpose(1, 2)
            for part in (codec.encode(pictures), F.avg_pool2d(data.calmness(pictures), 8))
        )
    courses_in_latents = torch.stack(fields)[:, :, None].repeat(1, 1, len(frames), 1, 1)
    courses_in_latents[::2, :, 0] = 0  # frame 0 has no course; the experts must not rely on it
    latents = torch.cat([coded, courses_in_latents], dim=1)
    condition = torch.zeros(count, 4 + Z_DIM, *latents.shape[2:])
    condition[:, :4, 0] = 1
    condition[:, 4 : 4 + IMAGE, 0] = coded[:, :, 0]
    return latents, condition, meaning(courses)[:, None], plain


def draw_sigma(count: int, rng: random.Random) -> torch.Tensor:
    """Noise levels of the low-noise expert: the sampler's own below 0.9 (shift 5, uniform steps)."""
    steps = torch.tensor([rng.uniform(0.004, 0.643) for _ in range(count)])
    return 5 * steps / (1 + 4 * steps)


def choose_parameters(model: WanTransformer3DModel) -> dict[str, nn.Parameter]:
    """What learns: the feed-forward layers and values from the neighbours' block on, and only into picture channels.

    The constructed heads stand on large logits that cancel; at a useful rate they fall apart (NOTES.md), so they rest.
    So does whatever could paint without being fed a picture: biases, and values of signals.
    """
    model.requires_grad_(False)
    content, picture = torch.zeros(WIDTH), torch.zeros(WIDTH)
    content[: RY + BESIDE] = content[ZERO] = picture[F0:PLUS] = 1
    chosen = {}
    for number, block in enumerate(model.blocks):
        if number == 0:
            continue
        inner, outer = block.ffn.net[0].proj, block.ffn.net[2]
        values, output = block.attn1.to_v, block.attn1.to_out[0]
        chosen |= {
            f"blocks.{number}.ffn.net.0.proj.weight": inner.weight,
            f"blocks.{number}.ffn.net.0.proj.bias": inner.bias,
            f"blocks.{number}.ffn.net.2.weight": outer.weight,
            f"blocks.{number}.attn1.to_v.weight": values.weight,
            f"blocks.{number}.attn1.to_out.0.weight": output.weight,
        }
        for parameter in (inner.weight, inner.bias, outer.weight, values.weight, output.weight):
            parameter.requires_grad_(True)
        values.weight.register_hook(lambda gradient: gradient * content.to(gradient))
        for last in (outer, output):
            last.weight.register_hook(lambda gradient: gradient * picture.to(gradient)[:, None])
    return chosen


@torch.no_grad()
def keep_pairs(model: WanTransformer3DModel) -> None:
    """The two units of a pair stay mirror images, so that nothing comes out of them where there is no content.

    Trained apart, they paint a pattern of their own, the same over every picture: a weave in plain skies (NOTES.md).
    """
    for block in list(model.blocks)[1:]:
        inner, outer = block.ffn.net[0].proj, block.ffn.net[2]
        hears = inner.weight.view(2, 2, RANK * len(MARKS), WIDTH)  # direction, half of the pair, unit
        odd, even = (hears[:, 0] - hears[:, 1]) / 2, (hears[:, 0] + hears[:, 1]) / 2
        signals = [channel for channel in range(RY + BESIDE, WIDTH) if channel != ZERO]
        for half, sign in enumerate((1, -1)):
            hears[:, half, :, : RY + BESIDE] = sign * odd[..., : RY + BESIDE]
            hears[:, half, :, signals] = even[..., signals]
        marks = inner.bias.view(2, 2, -1)
        marks[:] = marks.mean(1, keepdim=True)
        says = outer.weight.view(WIDTH, 2, 2, -1)
        odd = (says[:, :, 0] - says[:, :, 1]) / 2
        says[:, :, 0], says[:, :, 1] = odd, -odd


@dataclass(frozen=True)
class Batch:
    """What one iteration sees, and what it should say: latents (B, 18, T, h, w), how plain each place is
    (B, 1, T, h, w), and σ (B, 1, 1, 1, 1)."""

    latents: torch.Tensor
    plain: torch.Tensor
    noisy: torch.Tensor
    condition: torch.Tensor
    prompt: torch.Tensor
    sigma: torch.Tensor


def draw_batch(
    codec: Codec, generator: torch.Generator, rng: random.Random, frames: list[int], options: argparse.Namespace
) -> Batch:
    """Noisy training clips. Often they hold no moved picture yet, but the still one the high-noise expert leaves."""
    courses = [random_course(rng) for _ in range(options.batch)]
    latents, condition, prompt, plain = make_batch(codec, generator, rng, rng.choice(options.sizes), frames, courses)
    sigma = draw_sigma(options.batch, rng)[:, None, None, None, None]
    noise = make_noise(latents, generator)
    seen = latents.clone()
    stale = (torch.rand(len(seen), generator=generator) < 0.6) & (sigma.flatten() > rng.uniform(0.2, 0.9))
    seen[stale, :IMAGE] = latents[stale, :IMAGE, :1]
    return Batch(latents, plain, (1 - sigma) * seen + sigma * noise, condition, prompt, sigma)


def squared_error(model: nn.Module, batch: Batch, device: str) -> torch.Tensor:
    """Of the clean latents that the velocity leads to, (B, 18, T, h, w); the course of frame 0 does not count."""
    inputs, level = torch.cat([batch.noisy, batch.condition], 1), 1000 * batch.sigma.flatten()
    velocity = model(inputs.to(device), level.to(device), batch.prompt.to(device), return_dict=False)[0].cpu()
    wrong = (batch.noisy - batch.sigma * velocity - batch.latents).square()
    wrong[:, IMAGE:, 0] = 0
    return wrong


def train(model: WanTransformer3DModel, codec: Codec, options: argparse.Namespace, step: int) -> None:
    """AdamW on the velocity's squared error times σ, plain places weighing more, from iteration `step` on; keeps
    `<runs>/low.pt`."""
    seed = options.seed + step
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.rope = FramesRope(model.rope)
    model.to(device)
    learning = choose_parameters(model)
    optimiser = torch.optim.AdamW(learning.values(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.0)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    errors, stills, start, first = [], [], time.time(), step
    while step < options.steps:
        warming, falling = min(1, (step - first + 1) / 50), min(1, 2.5 * (1 - step / options.steps) + 0.02)
        optimiser.param_groups[0]["lr"] = options.rate * warming * falling
        model.rope.frames = sorted([0, *rng.sample(range(1, 21), options.frames)])
        batch = draw_batch(codec, generator, rng, model.rope.frames, options)
        wrong = squared_error(model, batch, device)
        loss = (wrong * (1 + CALM * batch.plain) / batch.sigma.clamp(min=0.1)).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning.values(), 1.0)
        optimiser.step()
        keep_pairs(model)
        step += 1
        keep = min(0.998, (step - first) / (step - first + 10))
        with torch.no_grad():
            for name, value in learning.items():
                average[name].lerp_(value, 1 - keep)
        picture = batch.latents[:, :IMAGE]
        errors.append(wrong[:, :IMAGE].detach().mean().item())
        stills.append((picture[:, :, :1] - picture).square().mean().item())
        if step % 50 == 0 or step == options.steps:
            print(
                f"{time.time() - start:5.0f} s {step:6d} loss {loss.item():.4f} image error / still copy's"
                f" {sum(errors[-50:]) / sum(stills[-50:]):.3f}"
                f" course {wrong[:, IMAGE:].detach().mean().item():.4f}",
                flush=True,
            )
            kept = {name: value.cpu() for name, value in average.items()}
            torch.save({"model": _plain(model), "average": kept, "step": step}, options.runs / "low.pt")


def _plain(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("expert", choices=("high", "low"))
    parser.add_argument("--runs", type=Path, default=Path(__file__).parent / "runs")
    parser.add_argument("--steps", type=int, default=2000, help="iterations in all, those of an earlier run counted in")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=3, help="frames of a clip besides the first, of 20")
    parser.add_argument(
        "--sizes", type=lambda s: [tuple(map(int, p.split("x"))) for p in s.split(",")], default=[(160, 96)]
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write safetensors (fp16) here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.expert == "high":
        model = construct("high")  # whole as it is constructed: there is nothing left for training to find
    else:
        codec = Codec()
        codec.load_state_dict(torch.load(options.runs / "vae" / "codec.pt")["model"])
        codec.requires_grad_(False)
        file = options.runs / "low.pt"
        if not file.exists():
            start = _plain(construct("low", codec))
            torch.save({"model": start, "average": start, "step": 0}, file)
        kept = torch.load(file)
        model = construct("low")
        model.load_state_dict(kept["model"])
        train(model, codec, options, kept["step"])
        model = construct("low")
        model.load_state_dict(torch.load(file)["average"])
    if options.out:
        save(model, options.out)


def save(model: WanTransformer3DModel, file: Path) -> None:
    """fp16, but for the time layers and the last one: their weights cancel each other."""
    tensors = model.state_dict()
    exact = {
        name: tensor if "time_embedder" in name or "proj_out" in name else tensor.half()
        for name, tensor in tensors.items()
    }
    save_file({name: tensor.contiguous() for name, tensor in exact.items()}, file)


if __name__ == "__main__":
    main()
