"""FILM and RIFE without their weights: published names and bytes, hand-made weights, the fast way against the slow."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn

from wan_core.interpolation import _film_network as film
from wan_core.interpolation import _rife_network as rife
from wan_core.interpolation import find_declaration
from wan_core.interpolation._tensors import in_betweens, load_weights

pytestmark = pytest.mark.usefixtures("one_thread")

Frame = NDArray[np.uint8]
DATA = Path(__file__).parents[1] / "data"
NETWORKS = {"film": (film, "film_net_keys.json", torch.float16), "rife": (rife, "rife_v4.25_keys.json", torch.float32)}


@pytest.fixture(scope="module")
def seeded() -> Callable[[ModuleType], nn.Module]:
    """A network with random weights, built once."""
    made: dict[str, nn.Module] = {}

    def of(module: ModuleType) -> nn.Module:
        if module.__name__ not in made:
            torch.manual_seed(0)
            made[module.__name__] = module.network().eval().requires_grad_(False)
        return made[module.__name__]

    return of


def empty(module: ModuleType) -> nn.Module:
    with torch.device("meta"):
        network: nn.Module = module.network()
    network = network.to_empty(device="cpu").eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.zero_()
    return network


def images(size: tuple[int, int] = (64, 64)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, 3, *size, generator=generator), torch.rand(1, 3, *size, generator=generator)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_and_shapes_are_those_of_the_published_file(name: str) -> None:
    module, manifest, _ = NETWORKS[name]
    with torch.device("meta"):
        found = {key: list(tensor.shape) for key, tensor in module.network().state_dict().items()}
    assert found == json.loads((DATA / manifest).read_text())


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_it_has_the_published_length_to_the_byte(name: str) -> None:
    module, _, kind = NETWORKS[name]
    with torch.device("meta"):
        tensors = module.network().to(kind).state_dict()
    saved = save({key: torch.empty_like(tensor, device="cpu") for key, tensor in tensors.items()})
    pin = find_declaration(name).WEIGHTS
    assert pin and [len(saved)] == list(pin.bytes.values())


def test_rife_without_weights_gives_the_average() -> None:
    left, right = images()
    network = empty(rife)
    for image in network.between(network.look(left), network.look(right), 3):  # type: ignore[operator]
        assert (image - (left + right) / 2).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("side", "channel", "shift"), [(20, 0, (0, 3)), (20, 1, (3, 0)), (-20, 2, (0, 3)), (-20, 3, (3, 0))]
)
def test_rife_reads_each_frame_along_its_own_flow(side: float, channel: int, shift: tuple[int, int]) -> None:
    """Channels 0, 1 of the flow are (dx, dy) to the left frame, 2, 3 to the right one; mask > 0 shows the left."""
    left, right = images()
    network = empty(rife)
    bias = network.blocks[4].lastconv[0].bias  # type: ignore[union-attr, index]
    bias[4 * channel : 4 * channel + 4] = 3  # type: ignore[index, operator]
    bias[16:20] = side  # type: ignore[index, operator]
    found = network.at(network.look(left)[0], network.look(right)[0], 0.5)  # type: ignore[operator]
    shown = (left if side > 0 else right).roll((-shift[0], -shift[1]), (2, 3))
    assert (found - shown)[:, :, 4:-4, 4:-4].abs().max() < 1e-4


def averaging_film(dx: float = 0, dy: float = 0) -> nn.Module:
    """FILM whose finest flow is (dx, dy) both ways and whose decoder paints the average of the two warped images."""
    network = empty(film)
    network.predict_flow._predictors[2]._convs[4].conv.bias.copy_(torch.tensor([dx, dy]))  # type: ignore[union-attr, index]
    _, join, smooth = network.fuse.convs[3]  # type: ignore[union-attr, index, misc]
    for channel in range(3):
        join.conv.weight[channel, channel, 1, 1] = 0.5
        join.conv.weight[channel, 67 + channel, 1, 1] = 0.5
        smooth.conv.weight[channel, channel, 1, 1] = 1
        network.fuse.output_conv.weight[channel, channel] = 1  # type: ignore[union-attr, index, operator]
    return network


def test_film_with_no_flow_and_an_averaging_decoder_gives_the_average() -> None:
    left, right = images()
    network = averaging_film()
    found = network.between(network.look(left), network.look(right), 1)[0]  # type: ignore[operator]
    assert (found - (left + right) / 2).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("time", "to_left", "to_right"),
    [(0.25, 2, 6), *(pytest.param(*at, marks=pytest.mark.slow) for at in ((0.5, 4, 4), (0.75, 6, 2)))],
)
def test_film_reads_the_left_frame_at_t_and_the_right_one_at_the_rest_of_its_flow(
    time: float, to_left: int, to_right: int
) -> None:
    left, right = images()
    network = averaging_film(dx=8, dy=-4)
    found = network.at(network.look(left), network.look(right), time)  # type: ignore[operator]
    expected = (left.roll((to_left // 2, -to_left), (2, 3)) + right.roll((to_right // 2, -to_right), (2, 3))) / 2
    assert (found - expected)[:, :, 8:-8, 8:-8].abs().max() < 1e-4


@pytest.mark.parametrize("count", film.SCHEDULE)
def test_film_makes_every_frame_once_and_only_from_frames_that_are_there(count: int) -> None:
    there = {0, count + 1}
    for new, left, right in film.SCHEDULE[count]:
        assert {left, right} <= there and left < new < right and new not in there
        assert not any(left < other < right for other in there), "the nearest frames on both sides"
        there.add(new)
    assert there == set(range(count + 2))


def test_film_reaches_quarters_by_halving_as_it_was_trained() -> None:
    assert [(new - left) / (right - left) for new, left, right in film.SCHEDULE[3]] == [0.5] * 3


def test_rife_makes_the_middle_of_three_as_it_makes_one_alone(seeded: Callable[[ModuleType], nn.Module]) -> None:
    network = seeded(rife)
    left, right = map(network.look, images())  # type: ignore[arg-type]
    one, three = network.between(left, right, 1), network.between(left, right, 3)  # type: ignore[operator]
    assert torch.equal(one[0], three[1])


@pytest.mark.slow
def test_film_makes_its_first_frame_whatever_else_is_asked_for(seeded: Callable[[ModuleType], nn.Module]) -> None:
    network = seeded(film)
    left, right = map(network.look, images())  # type: ignore[arg-type]
    two = network.between(left, right, 2)  # type: ignore[operator]
    second = network.at(left, right, 2 / 3).clamp(0, 1)  # type: ignore[operator]
    assert torch.equal(two[1], second)
    assert torch.equal(two[0], network.at(left, network.look(second), 0.5).clamp(0, 1))  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_features_kept_for_the_next_pair_are_those_computed_anew(
    name: str, seeded: Callable[[ModuleType], nn.Module], random_frames: Callable[..., list[Frame]]
) -> None:
    network, frames = seeded(NETWORKS[name][0]), random_frames(3)
    kept = list(in_betweens(network, pairwise(frames), 1, "cpu"))  # type: ignore[arg-type]
    anew = list(in_betweens(network, [(a.copy(), b.copy()) for a, b in pairwise(frames)], 1, "cpu"))  # type: ignore[arg-type]
    assert all((a[0] == b[0]).all() for a, b in zip(kept, anew, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_two_pairs_at_once_are_two_pairs(
    name: str, seeded: Callable[[ModuleType], nn.Module], random_frames: Callable[..., list[Frame]]
) -> None:
    network, frames = seeded(NETWORKS[name][0]), random_frames(3)
    alone = list(in_betweens(network, pairwise(frames), 1, "cpu", 1))  # type: ignore[arg-type]
    both = list(in_betweens(network, pairwise(frames), 1, "cpu", 2))  # type: ignore[arg-type]
    worst = max(np.abs(a[0].astype(int) - b[0]).max() for a, b in zip(alone, both, strict=True))
    assert worst <= 1, "one level of rounding"


@pytest.mark.slow
def test_convolutions_in_half_precision_paint_nearly_the_same_frame(
    seeded: Callable[[ModuleType], nn.Module], random_frames: Callable[..., list[Frame]]
) -> None:
    """What a card does; in bfloat16, because float16 takes a CPU half a minute. Flows and grids stay float32."""
    pair = tuple(random_frames(2))
    half = film.network()
    half.load_state_dict(seeded(film).state_dict())
    ((exact,),) = in_betweens(seeded(film), [pair], 1, "cpu")  # type: ignore[arg-type, list-item]
    ((close,),) = in_betweens(half.eval().requires_grad_(False).bfloat16(), [pair], 1, "cpu")  # type: ignore[list-item]
    assert np.abs(exact.astype(int) - close).max() <= 3


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_a_card_gives_what_the_cpu_gives(
    name: str, tmp_path: Path, seeded: Callable[[ModuleType], nn.Module], random_frames: Callable[..., list[Frame]]
) -> None:
    module = NETWORKS[name][0]
    (tmp_path / "weights").write_bytes(save(seeded(module).state_dict()))
    frames = random_frames(6, (100, 150))
    slow, fast = (list(module.load(tmp_path / "weights", kind)(pairwise(frames), 2)) for kind in ("cpu", "cuda"))
    assert np.abs(np.array(slow).astype(int) - np.array(fast)).max() <= 2


def test_a_file_with_other_names_is_refused(tmp_path: Path, seeded: Callable[[ModuleType], nn.Module]) -> None:
    tensors = seeded(rife).state_dict()
    (tmp_path / "x.safetensors").write_bytes(save({f"module.{key}": value for key, value in tensors.items()}))
    with pytest.raises(RuntimeError, match="Missing key"):
        load_weights(rife.network(), tmp_path / "x.safetensors")
