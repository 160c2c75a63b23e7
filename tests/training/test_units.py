"""Hidden units and channels: nothing is given out twice, and units that are filled with a function say it."""

import dataclasses

import pytest
import torch
from torch import nn

from training.channels import CHANNELS, WIDTH, Axis, Direction
from training.course import certainty, course_gain
from training.units import Function, Units, fit_function, put_clip, put_gate


def make_units(count: int) -> Units:
    inner, outer = nn.Linear(WIDTH, count), nn.Linear(count, WIDTH)
    for parameter in (inner.weight, inner.bias, outer.weight, outer.bias):
        nn.init.zeros_(parameter)
    return Units(inner, outer)


def run(units: Units, axis: Axis, course: torch.Tensor, opened: bool) -> torch.Tensor:
    """The channels that the units write, for tokens (N,) that read `course` and were asked for nothing."""
    tokens = torch.zeros(len(course), WIDTH)
    tokens[:, axis.read], tokens[:, axis.open] = course, float(opened)
    hidden: torch.Tensor = nn.functional.gelu(units.inner(tokens), approximate="tanh")
    written: torch.Tensor = units.outer(hidden)
    return written.detach()


def test_units_are_handed_out_in_order_and_none_twice() -> None:
    units = make_units(10)
    assert [units.allocate(n) for n in (4, 1, 5)] == [slice(0, 4), slice(4, 5), slice(5, 10)]


def test_more_units_than_are_left_are_refused_and_none_is_lost() -> None:
    units = make_units(10)
    units.allocate(8)
    with pytest.raises(ValueError, match="3 more hidden units wanted, 8 of 10 are taken"):
        units.allocate(3)
    assert units.allocate(2) == slice(8, 10)


def test_every_channel_holds_one_thing_and_lies_inside_the_token() -> None:
    single = [*CHANNELS.noisy, *CHANNELS.picture]
    for field in dataclasses.fields(CHANNELS):
        value = getattr(CHANNELS, field.name)
        if isinstance(value, Axis):
            single += dataclasses.astuple(value)
        elif isinstance(value, Direction):
            single += [*value.neighbour, value.rests, value.place, value.side, value.gone]
        elif isinstance(value, int):
            single.append(value)
    assert len(single) == len(set(single))
    assert set(single) < set(range(WIDTH))


@pytest.mark.parametrize("axis", CHANNELS.axes, ids=("pan", "tilt", "zoom"))
def test_a_gate_lets_the_course_out_only_where_the_axis_is_open(axis: Axis) -> None:
    units, course = make_units(2), torch.linspace(-6, 6, 25)
    put_gate(units, axis)
    assert torch.allclose(run(units, axis, course, opened=True)[:, axis.out], course, atol=1e-5)
    assert torch.allclose(run(units, axis, course, opened=False)[:, axis.out], torch.zeros(25), atol=1e-3)


def test_a_clip_rises_to_one_at_its_knee_on_both_sides() -> None:
    units, course = make_units(4), torch.tensor([-3.0, -0.6, 0.0, 0.15, 0.6, 3.0])
    put_clip(units, CHANNELS.pan, CHANNELS.sideways.side, knee=0.3)
    clipped = run(units, CHANNELS.pan, course, opened=True)[:, CHANNELS.sideways.side]
    assert torch.allclose(clipped, torch.tensor([-1.0, -1.0, 0.0, 0.5, 1.0, 1.0]), atol=0.02)


def test_a_fitted_function_is_the_wanted_one() -> None:
    torch.manual_seed(0)
    product = Function(24, CHANNELS.pan, 2.0, {CHANNELS.time: (0.0, 1.0)}, lambda points: points[:, 0] * points[:, 1])
    fitted, points = fit_function(product, steps=100), product.draw_points(500)
    said = nn.functional.gelu(points @ fitted.weights.T + fitted.biases, approximate="tanh") @ fitted.outputs
    assert (said - product.wanted(points)).square().mean().sqrt() < 0.02


def test_noise_hides_the_course_and_little_noise_shows_it() -> None:
    sigma = torch.tensor([0.01, 0.5, 0.9, 0.999])
    gain, share = course_gain(sigma)
    assert share[0] > 0.99 and share[3] < 0.01 and torch.all(share.diff() < 0)
    assert torch.allclose(gain * (1 - sigma) * 0.1, share)
    assert certainty(sigma)[0] > 0.98 and torch.all(certainty(sigma).diff() < 0)
