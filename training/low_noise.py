"""Train the low-noise expert from its constructed start: the picture becomes sharper, the movement stays fixed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from torch import nn

from training.channels import CHANNELS, WIDTH
from training.clips import Batch, ClipSampler
from training.codec import IMAGE_DIM, Codec
from training.course import LATENT_FRAMES, PLAIN_WEIGHT
from training.shift import MARKS, RANK

Tensors = dict[str, torch.Tensor]
REPORT_EVERY = 50  # iterations
SMALLEST_SIGMA = 0.1  # an error counts 1/σ, but not more than at this
LONGEST_MEMORY = 0.998  # of the running average of the weights


class FramesRope(nn.Module):
    """The model's rotary embedding for a subset of the frames, at their true positions in a clip of 21."""

    def __init__(self, rope: WanRotaryPosEmbed) -> None:
        super().__init__()
        self.rope = rope
        self.frames: list[int] = list(range(LATENT_FRAMES))

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        whole = torch.empty(1, 1, LATENT_FRAMES, *hidden.shape[3:], device="meta")
        tokens = (hidden.shape[3] // 2) * (hidden.shape[4] // 2)
        cos, sin = self.rope(whole)
        return self._select(cos, tokens), self._select(sin, tokens)

    def _select(self, table: torch.Tensor, tokens: int) -> torch.Tensor:
        return torch.unflatten(table, 1, (LATENT_FRAMES, tokens))[:, self.frames].flatten(1, 2)


@dataclass(frozen=True)
class Training:
    """`steps` is the iteration to reach in all."""

    file: Path  # checkpoint: {"model", "average": Tensors, "step": int}
    steps: int
    rate: float
    batch: int
    frames: int  # of a clip besides the first
    sizes: list[tuple[int, int]]  # width, height
    seed: int

    def learning_rate(self, step: int, first: int) -> float:
        warming, falling = min(1, (step - first + 1) / 50), min(1, 2.5 * (1 - step / self.steps) + 0.02)
        return self.rate * warming * falling


def choose_parameters(model: WanTransformer3DModel) -> dict[str, nn.Parameter]:
    """Return what learns: feed-forward layers and values from the neighbours' block on, into picture channels only.

    Constructed heads rest: at a useful rate their large cancelling logits fall apart (NOTES.md). So do signal values
    and biases behind the hidden units, which could paint without a picture.
    """
    model.requires_grad_(False)
    content, picture = torch.zeros(WIDTH), torch.zeros(WIDTH)
    content[: CHANNELS.latents.stop] = content[CHANNELS.zero] = 1
    picture[CHANNELS.picture.start : CHANNELS.plus] = 1
    chosen: dict[str, nn.Parameter] = {}
    for number, block in list(enumerate(model.blocks))[1:]:
        inner, outer = block.ffn.net[0].proj, block.ffn.net[2]
        values, output = block.attn1.to_v, block.attn1.to_out[0]
        chosen |= {
            f"blocks.{number}.ffn.net.0.proj.weight": inner.weight,
            f"blocks.{number}.ffn.net.0.proj.bias": inner.bias,
            f"blocks.{number}.ffn.net.2.weight": outer.weight,
            f"blocks.{number}.attn1.to_v.weight": values.weight,
            f"blocks.{number}.attn1.to_out.0.weight": output.weight,
        }
        values.weight.requires_grad_(True).register_hook(lambda gradient: gradient * content.to(gradient))
        for last in (outer, output):
            last.weight.requires_grad_(True).register_hook(lambda gradient: gradient * picture.to(gradient)[:, None])
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    return chosen


@torch.no_grad()
def keep_pairs(model: WanTransformer3DModel) -> None:
    """Keep the two units of each pair mirror images, so that no content gives no output.

    Trained apart, they paint the same pattern over every picture: a weave in plain skies (NOTES.md).
    """
    contents = slice(0, CHANNELS.latents.stop)
    signals = [channel for channel in range(CHANNELS.latents.stop, WIDTH) if channel != CHANNELS.zero]
    for block in list(model.blocks)[1:]:
        inner, outer = block.ffn.net[0].proj, block.ffn.net[2]
        heard = inner.weight.view(2, 2, RANK * len(MARKS), WIDTH)  # sign of the way, half of the pair, unit
        odd, even = (heard[:, 0] - heard[:, 1]) / 2, (heard[:, 0] + heard[:, 1]) / 2
        for half, sign in enumerate((1, -1)):
            heard[:, half, :, contents] = sign * odd[..., contents]
            heard[:, half, :, signals] = even[..., signals]
        marks = inner.bias.view(2, 2, -1)
        marks[:] = marks.mean(1, keepdim=True)
        written = outer.weight.view(WIDTH, 2, 2, -1)
        odd = (written[:, :, 0] - written[:, :, 1]) / 2
        written[:, :, 0], written[:, :, 1] = odd, -odd


def squared_error(model: WanTransformer3DModel, batch: Batch, device: str) -> torch.Tensor:
    """Of the clean latents that the velocity leads to, (B, 18, T, h, w); the course of frame 0 does not count."""
    clips, level = batch.clips, 1000 * batch.sigma.flatten()
    inputs = torch.cat([batch.noisy, clips.condition], 1)
    velocity = model(inputs.to(device), level.to(device), clips.prompt.to(device), return_dict=False)[0].cpu()
    wrong: torch.Tensor = (batch.noisy - batch.sigma * velocity - clips.latents).square()
    wrong[:, IMAGE_DIM:, 0] = 0
    return wrong


class Report:
    """Prints the errors of the last iterations relative to those of a still copy."""

    def __init__(self) -> None:
        self.start, self.errors, self.stills = time.time(), list[float](), list[float]()

    def add(self, wrong: torch.Tensor, batch: Batch) -> None:
        picture = batch.clips.latents[:, :IMAGE_DIM]
        self.errors.append(wrong[:, :IMAGE_DIM].detach().mean().item())
        self.stills.append((picture[:, :, :1] - picture).square().mean().item())

    def print(self, step: int, loss: torch.Tensor, wrong: torch.Tensor) -> None:
        share = sum(self.errors[-REPORT_EVERY:]) / sum(self.stills[-REPORT_EVERY:])
        print(
            f"{time.time() - self.start:5.0f} s {step:6d} loss {loss.item():.4f} image error / still copy's {share:.3f}"
            f" course {wrong[:, IMAGE_DIM:].detach().mean().item():.4f}",
            flush=True,
        )


def train(model: WanTransformer3DModel, codec: Codec, training: Training, step: int) -> None:
    """AdamW on the velocity's squared error times σ, plain places weighing more, from iteration `step` on."""
    sampler = ClipSampler(codec, training.sizes, training.seed + step)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.rope = FramesRope(model.rope)
    model.to(device)
    learning = choose_parameters(model)
    optimiser = torch.optim.AdamW(learning.values(), lr=training.rate, betas=(0.9, 0.98), weight_decay=0.0)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    report, first = Report(), step
    while step < training.steps:
        optimiser.param_groups[0]["lr"] = training.learning_rate(step, first)
        model.rope.frames = sampler.draw_frames(training.frames)
        batch = sampler.draw_batch(training.batch, model.rope.frames)
        wrong = squared_error(model, batch, device)
        loss = (wrong * (1 + PLAIN_WEIGHT * batch.clips.plain) / batch.sigma.clamp(min=SMALLEST_SIGMA)).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(learning.values(), 1.0)
        optimiser.step()
        keep_pairs(model)
        step += 1
        update_average(average, learning, step - first)
        report.add(wrong, batch)
        if step % REPORT_EVERY == 0 or step == training.steps:
            report.print(step, loss, wrong)
            kept = {name: value.cpu() for name, value in average.items()}
            torch.save({"model": copy_tensors(model), "average": kept, "step": step}, training.file)


@torch.no_grad()
def update_average(average: Tensors, learning: dict[str, nn.Parameter], iterations: int) -> None:
    """A running average whose memory grows with the iterations, in place."""
    keep = min(LONGEST_MEMORY, iterations / (iterations + 10))
    for name, value in learning.items():
        average[name].lerp_(value, 1 - keep)


def copy_tensors(model: nn.Module) -> Tensors:
    return {name: value.detach().cpu().clone() for name, value in model.named_parameters()}
