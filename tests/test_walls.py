"""The walls of the house: imports run downward, torch stays in its rooms, each danger has one home."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from wan_core.profiles import profiles

ROOT = Path(__file__).parents[1]
FLOORS = [  # from the ground up; a room may import the rooms before it
    ["errors"],
    ["logs"],
    ["files"],
    ["settings"],
    ["schema"],
    ["endpoints"],
    ["geometry"],
    ["timing"],
    ["frames"],
    ["cutting"],
    ["flow"],
    ["enlarging"],
    ["events"],
    ["run_in_thread"],
    ["download_progress"],
    ["hub"],
    ["interpolation"],
    ["schedule"],
    ["workload"],
    ["rates"],
    ["profiles"],
    ["pricing"],
    ["calibration"],
    ["estimator"],
    ["prompting"],
    ["presets"],
    ["serving"],
    ["recipe"],
    ["intake"],
    ["engine"],
    ["encoding"],
    ["explore"],
    ["safety"],
    ["expansion"],
    ["clips"],
    ["backends"],
    ["jobs"],
    ["api", "ui"],
]
SIZES = "wan_core.engine.miniature.architecture"
"""Plain data that `profiles` reads too: one source for what is built and for what its work is estimated by."""
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
SOURCES = sorted(path for path in (ROOT / "wan_core").rglob("*.py") if path != ROOT / "wan_core" / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "wan_core").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that `path` imports, anywhere in it, by its dotted name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write absolute imports"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_used(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) - {SIZES} if name.startswith("wan_core.")}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_run_downward(path: Path) -> None:
    here = room_of(path)
    assert here in HEIGHT, f"{here} has no floor yet: add it to FLOORS"
    for room in rooms_used(path) - {here}:
        assert HEIGHT[room] < HEIGHT[here], f"{name(path)} imports {room}, which is above it"


@pytest.mark.parametrize("path", [p for p in SOURCES if room_of(p) in ("ui", "api")], ids=name)
def test_page_and_routes_know_no_engine_and_no_concrete_backend(path: Path) -> None:
    assert not rooms_used(path) & {"engine", "interpolation", "clips", "backends"}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_torch_is_imported_only_where_frames_are_made_or_checked(path: Path) -> None:
    heavy = {found.split(".")[0] for found in imported(path)} & {"torch", "diffusers", "transformers", "safetensors"}
    allowed = room_of(path) in ("engine", "interpolation", "safety", "expansion") or path.name == "zerogpu.py"
    assert allowed or not heavy, f"{name(path)} imports {heavy}"


def test_the_sizes_that_profiles_read_are_data_alone() -> None:
    assert imported(ROOT.joinpath(*SIZES.split(".")).with_suffix(".py")) == {"typing.Any"}
    readers = {name(path) for path in SOURCES if SIZES in imported(path) and room_of(path) != "engine"}
    assert readers == {"wan_core/profiles.py"}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_the_worker_and_zerogpu_carry_out_the_recipe(path: Path) -> None:
    if "clips" in rooms_used(path):
        assert name(path) in ("wan_core/backends/worker.py", "wan_core/backends/zerogpu.py")


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "app.py"], ids=name)
def test_ray_is_imported_by_the_link_to_the_cluster_alone(path: Path) -> None:
    if any(found.split(".")[0] == "ray" for found in imported(path)):
        assert name(path) == "wan_core/backends/ray.py"
    assert "wan_core.backends.ray" not in {found.rpartition(".")[0] for found in imported(path)}


def reads_environment(path: Path) -> bool:
    names = ("environ", "environb", "getenv")
    return any(isinstance(node, ast.Attribute) and node.attr in names for node in ast.walk(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "app.py"], ids=name)
def test_the_environment_is_read_in_settings_alone(path: Path) -> None:
    assert not reads_environment(path) or path.name == "settings.py"


def test_the_web_process_starts_without_torch() -> None:
    rooms = "wan_core.ui, wan_core.api, wan_core.jobs, wan_core.backends.local"
    check = f"import sys, {rooms}; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    subprocess.run([sys.executable, "-W", "ignore", "-c", check], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "app.py"], ids=name)
def test_engines_are_told_apart_in_profiles_alone(path: Path) -> None:
    """Others read a profile's fields; a name of an engine beside a comparison would be a second place to change."""
    names = set(profiles())
    compared = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Compare)]
    told = {part.value for node in compared for part in ast.walk(node) if isinstance(part, ast.Constant)} & names
    assert name(path) == "wan_core/profiles.py" or not told
    assert "wan_core.profiles.MINIATURE" not in imported(path)


def test_the_page_is_never_mounted() -> None:
    """Gradio checks the paths of files, and answers MCP, only where it is launched."""
    for path in (*SOURCES, ROOT / "app.py"):
        assert "mount_gradio" + "_app(" not in path.read_text("utf-8"), path
