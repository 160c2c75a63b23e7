"""Hidden units of a feed-forward layer: handed out in order, and filled with small functions of a token's channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import nn

from training.channels import CHANNELS, Axis

SHUT = 15.0  # what a hidden unit of an axis that shall rest is lowered by
FIT_STEPS = 3000


class Units:
    """Two linear layers and the hidden units between them, of which none is given out twice."""

    def __init__(self, inner: nn.Linear, outer: nn.Linear) -> None:
        self.inner, self.outer, self.used = inner, outer, 0

    @classmethod
    def of_block(cls, block: WanTransformerBlock) -> Units:
        """The feed-forward layer of a transformer block."""
        return cls(block.ffn.net[0].proj, block.ffn.net[2])

    def allocate(self, n: int) -> slice:
        """The next `n` units: rows of `inner`, columns of `outer`. ValueError where fewer are left."""
        if n > self.inner.out_features - self.used:
            raise ValueError(f"{n} more hidden units wanted, {self.used} of {self.inner.out_features} are taken")
        self.used += n
        return slice(self.used - n, self.used)


@dataclass(frozen=True)
class Function:
    """A smooth function of an axis's course and a few other channels, fitted with `units` hidden units.

    The course is in [-widest, widest], other channels in (low, high). `wanted` takes points (N, 1 + others), the course
    first, and gives (N,).
    """

    units: int
    axis: Axis
    widest: float
    others: Mapping[int, tuple[float, float]]
    wanted: Callable[[torch.Tensor], torch.Tensor]

    def draw_points(self, count: int) -> torch.Tensor:
        """(count, 1 + others), denser about a course of 0: a still clip must be still."""
        low, high = torch.tensor([(-self.widest, self.widest), *self.others.values()]).T
        points: torch.Tensor = low + (high - low) * torch.rand(count, len(low))
        points[::2, 0] *= 0.2
        points[::5, 0] *= 0.02
        return points


@dataclass(frozen=True)
class Fitted:
    """`outputs` @ gelu(`weights` @ point + `biases`): (units,), (units, point), (units,)."""

    weights: torch.Tensor
    biases: torch.Tensor
    outputs: torch.Tensor


@torch.no_grad()
def read_course(inner: nn.Linear, rows: slice, axis: Axis, weight: torch.Tensor) -> None:
    """Hidden units read an axis's expected course (read plus asked); a closed axis shuts them."""
    inner.weight[rows] = 0
    inner.weight[rows, axis.read] = weight
    inner.weight[rows, CHANNELS.zero] = -weight - SHUT
    inner.weight[rows, axis.asked] = weight
    inner.weight[rows, CHANNELS.empty] = -weight
    inner.weight[rows, axis.open] = SHUT


@torch.no_grad()
def put_gate(units: Units, axis: Axis) -> None:
    """Output the expected course, or 0 if the axis is closed: x = gelu(x) - gelu(-x)."""
    rows, signs = units.allocate(2), torch.tensor([1.0, -1.0])
    read_course(units.inner, rows, axis, signs)
    units.inner.bias[rows] = -SHUT
    units.outer.weight[axis.out, rows] = signs


@torch.no_grad()
def put_rest(units: Units, axis: Axis, target: int) -> None:
    """`target` is 1 where neither this axis nor the zoom is open, else 0: gelu(4) is 4, gelu(-4) nothing."""
    rows = units.allocate(1)
    units.inner.weight[rows] = 0
    units.inner.weight[rows, [axis.open, CHANNELS.zoom.open]] = -8.0
    units.inner.weight[rows, CHANNELS.zero] = 16.0
    units.inner.bias[rows] = 4.0
    units.outer.weight[target, rows] = 0.25


@torch.no_grad()
def put_clip(units: Units, axis: Axis, target: int, knee: float) -> None:
    """`target` becomes the course / knee, clipped to [-1, 1]: a ramp up and one down on each side of 0."""
    rows, steep = units.allocate(4), 4 / knee
    signs, starts = torch.tensor([1.0, 1.0, -1.0, -1.0]), torch.tensor([0.0, knee, 0.0, knee])
    read_course(units.inner, rows, axis, signs * steep)
    units.inner.bias[rows] = -steep * starts - SHUT
    units.outer.weight[target, rows] = signs * torch.where(starts == 0, 1, -1) / 4


@torch.no_grad()
def put_function(units: Units, function: Function, target: int, steps: int = FIT_STEPS) -> None:
    rows, fitted = units.allocate(function.units), fit_function(function, steps)
    read_course(units.inner, rows, function.axis, fitted.weights[:, 0])
    for column, channel in enumerate(function.others, start=1):
        units.inner.weight[rows, channel] = fitted.weights[:, column]
        units.inner.weight[rows, CHANNELS.zero] -= fitted.weights[:, column]
    units.inner.bias[rows] = fitted.biases - SHUT
    units.outer.weight[target, rows] = fitted.outputs


def fit_function(function: Function, steps: int) -> Fitted:
    """Features by `steps` of Adam, outputs by least squares."""
    weights, biases = train_features(function, steps)
    points = function.draw_points(20000)
    importance = torch.where(points[:, :1].abs() < 0.15, 10.0, 1.0).double()
    features = F.gelu(points @ weights.T + biases, approximate="tanh").double()
    values = function.wanted(points)[:, None].double()
    ridge = 1e-7 * len(features) * torch.eye(function.units).double()
    outputs = torch.linalg.solve(features.T @ (importance * features) + ridge, features.T @ (importance * values))
    error = (features @ outputs - values).square()
    print(
        f"a function of {points.shape[1]} channels: rms error {error.mean().sqrt():.4f}, largest"
        f" {error.max().sqrt():.3f}, outputs up to {outputs.abs().max():.2f}"
    )
    return Fitted(weights, biases, outputs[:, 0].float())


@torch.enable_grad()
def train_features(function: Function, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (units, 1 + others) and biases (units,), so that the function nearly lies in the units' span."""
    highest = torch.tensor([function.widest, *(high for _, high in function.others.values())])
    weights = (torch.randn(function.units, len(highest)) * 2.5 / highest.clamp(max=6).sqrt()).requires_grad_()
    biases = (torch.randn(function.units) * 1.5).requires_grad_()
    outputs = torch.zeros(function.units, requires_grad=True)
    optimiser = torch.optim.Adam([weights, biases, outputs], lr=1e-2)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - step / steps)
        points = function.draw_points(2000)
        values = F.gelu(points @ weights.T + biases, approximate="tanh") @ outputs
        loss = (values - function.wanted(points)).square().mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return weights.detach(), biases.detach()
