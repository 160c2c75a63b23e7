"""The line before the click, and what would fit."""

from tests.support.jobs import MINIMAL
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.estimator import Estimator
from wan_core.explore.cells import plan
from wan_core.explore.cost import cost, fewer_cells, line, most_cells
from wan_core.explore.definition import AxisText, Definition
from wan_core.geometry import Size
from wan_core.profiles import Machine
from wan_core.settings import Settings

BASE = {**IMAGE_TO_VIDEO.defaults, **MINIMAL, "seed": 7}
PICTURE = Size(832, 480)


def seconds(spent: float) -> str:
    return f"{spent:.0f} s"


def test_the_line_adds_up_what_single_clips_take() -> None:
    definition = Definition((AxisText("guidance_scale", "2, 4, 6"), AxisText("shift", "2, 5, 8")))
    made = plan(BASE, "miniature", definition.read_axes())
    estimator = Estimator(Machine())
    spent = cost(made, PICTURE, estimator, "local")
    single = [estimator.estimate(c.inputs, PICTURE, _miniature()).seconds for c in made.cells if c.inputs]
    assert abs(spent.seconds - sum(single)) < 1e-6 and spent.dollars == 0
    assert line(made, spent, seconds) == f"3 × 3 = 9 clips · about {sum(single):.0f} s here"


def test_cells_that_are_made_at_the_same_time_take_less_but_never_less_than_the_longest() -> None:
    made = plan(BASE, "miniature", Definition((AxisText("guidance_scale", "2, 4, 6"),)).read_axes())
    estimator = Estimator(Machine())
    alone, three, many = (cost(made, PICTURE, estimator, "local", at_once).seconds for at_once in (1, 3, 100))
    assert abs(alone - 3 * three) < 1e-6 and many == three


def test_on_fal_the_line_names_the_dollars() -> None:
    made = plan(BASE | {"num_frames": 33}, "a14b", Definition((AxisText("shift", "2, 5"),)).read_axes())
    spent = cost(made, PICTURE, Estimator(Machine()), "fal")
    assert "2 × $0.08 = $0.17 on fal" in line(made, spent, seconds)


def test_finishing_costs_no_sampling() -> None:
    made = plan(BASE, "miniature", Definition((AxisText("frames_per_second", "8, 16, 24"),)).read_axes())
    spent = cost(made, PICTURE, Estimator(Machine()), "local")
    assert spent.sampled == 1 and "2 of them without sampling" in line(made, spent, seconds)


def test_too_many_cells_are_thinned_to_what_fits_with_the_ends_kept() -> None:
    definition = Definition((AxisText("guidance_scale", "1..9"), AxisText("seed", "1, 2")))
    fitting = fewer_cells(definition, plan(BASE, "miniature", definition.read_axes()), 6)
    first = fitting.axes[0].text.split(", ")
    assert len(first) == 3 and (first[0], first[-1]) == ("1", "9")


def test_the_hosts_limit() -> None:
    assert most_cells(Settings(), "local", "miniature") == 36
    assert most_cells(Settings(GRADIO_SERVER_NAME="0.0.0.0"), "local", "miniature") == 9
    assert most_cells(Settings(sweep_cells=4), "fal", "a14b") == 4
    assert most_cells(Settings(), "fal", "a14b") == 9


def _miniature():  # type: ignore[no-untyped-def]
    from wan_core.profiles import profiles

    return profiles()["miniature"]
