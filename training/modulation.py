"""What the experts' modulations do at a noise level: factors of a token's channels, through the time layers.

LayerNorms divide by a token's spread; a block's modulation multiplies it back, the last one also divides by σ.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel

from training.channels import CHANNELS, LARGE, SPREAD, WIDTH
from training.course import certainty, course_gain

ATTENTION_SCALE, ATTENTION_GATE, FEED_FORWARD_SCALE, FEED_FORWARD_GATE = 1, 2, 4, 5  # parts of a block's modulation
SCALED = [*CHANNELS.noisy, *CHANNELS.picture, *(axis.out for axis in CHANNELS.axes), CHANNELS.empty]  # divided by σ
SMALLEST_SIGMA = 0.02
RIDGE = 1e-7


def natural_scale() -> torch.Tensor:
    """(WIDTH,) what a LayerNorm divided by: times it, channels are as before, the constant pair ±1."""
    natural = torch.full((WIDTH,), SPREAD)
    natural[[CHANNELS.plus, CHANNELS.minus]] = SPREAD / LARGE
    return natural


def solve(features: torch.Tensor, wanted: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
    """Weights and, last, biases that make `wanted` (N, K) from features (N, M) with the least squares."""
    features = torch.cat([features, torch.ones(len(features), 1)], 1).double() * importance
    ridge = RIDGE * torch.eye(features.shape[1]).double() * len(features)
    solution: torch.Tensor = torch.linalg.solve(
        features.T @ features + ridge, features.T @ (wanted.double() * importance)
    )
    return solution


def put_noise_level(model: WanTransformer3DModel) -> None:
    """1/σ for the last modulation, `course_gain` for the course channels and `certainty` for the shifts, by least
    squares through the time layers."""
    times = torch.cat([torch.linspace(10, 999.9, 1500), torch.linspace(880, 999.9, 300)])
    sigma = times.double() / 1000
    features = put_inverse_sigma(model, times)
    features[:, SCALED] = 0
    gain, trust = course_gain(sigma)
    asked, gone = [axis.asked for axis in CHANNELS.axes], [CHANNELS.sideways.gone, CHANNELS.upright.gone]
    time_proj = model.condition_embedder.time_proj
    time_proj.weight.zero_()
    time_proj.bias.zero_()
    for part, channels, natural, factor in (
        (ATTENTION_SCALE, [*CHANNELS.noisy_course, CHANNELS.empty], SPREAD, gain),
        (FEED_FORWARD_SCALE, [*asked, CHANNELS.empty], SPREAD, 1 - trust),
        (FEED_FORWARD_SCALE, [*gone, CHANNELS.blurred], SPREAD, certainty(sigma)),
        (FEED_FORWARD_SCALE, [CHANNELS.plus], SPREAD / LARGE, certainty(sigma)),
    ):
        solution = solve(features, (natural * (factor - 1))[:, None], torch.ones_like(sigma)[:, None])
        rows = [part * WIDTH + channel for channel in channels]
        weights = solution[:-1].T.float().clone()
        weights[:, SCALED] = 0
        time_proj.weight[rows] = weights
        time_proj.bias[rows] = solution[-1].float()
        error = (features @ solution[:-1] + solution[-1]) / natural - (factor - 1)[:, None]
        print(f"a factor of the noise level up to {factor.max():.2f}: rms error {error.square().mean().sqrt():.4f}")


def put_inverse_sigma(model: WanTransformer3DModel, times: torch.Tensor) -> torch.Tensor:
    """Fill the time embedder: SCALED channels hold 1/σ - 1, the others are random. (N, WIDTH) features of `times`."""
    embedder = model.condition_embedder
    waves = embedder.timesteps_proj(times)
    linear1, linear2 = embedder.time_embedder.linear_1, embedder.time_embedder.linear_2
    slow = 10000 ** (-torch.arange(128) / 128) < 0.02
    linear1.weight.normal_(0, 0.4).mul_(torch.cat([slow, slow]))
    linear1.bias.normal_(0, 0.5)
    hidden = F.silu(linear1(waves)).double()
    inverse = 1 / (times.double() / 1000).clamp(min=SMALLEST_SIGMA)
    solution = solve(hidden, (SPREAD * (inverse - 1))[:, None], (1 / inverse)[:, None])
    linear2.weight.normal_(0, 0.15)
    linear2.bias.normal_(0, 0.5)
    linear2.weight[SCALED] = solution[:-1].T.float()
    linear2.bias[SCALED] = solution[-1].float()
    return F.silu(embedder.time_embedder(waves)).double()
