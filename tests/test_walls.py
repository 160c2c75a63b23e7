"""The walls of the house: imports run downward, torch stays in its rooms, each danger has one home."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
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


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module that `path` imports, anywhere in it, by its dotted name."""
    return frozenset(names_imported(path, ast.walk(parsed(path))))


def names_imported(path: Path, nodes: Iterable[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
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


APP = ROOT / "app.py"


def test_every_room_has_a_floor() -> None:
    assert {room_of(path) for path in SOURCES} - set(HEIGHT) == set(), "add it to FLOORS"


def test_imports_run_downward() -> None:
    upward = {
        (name(path), room)
        for path in SOURCES
        for room in rooms_used(path) - {room_of(path)}
        if HEIGHT[room] >= HEIGHT[room_of(path)]
    }
    assert upward == set(), "files and the rooms above them that they import"


def test_page_and_routes_know_no_engine_and_no_concrete_backend() -> None:
    behind = {"engine", "interpolation", "clips", "backends"}
    assert [name(path) for path in SOURCES if room_of(path) in ("ui", "api") and rooms_used(path) & behind] == []


def test_torch_is_imported_only_where_frames_are_made_or_checked() -> None:
    allowed = ("engine", "interpolation", "safety", "expansion")
    others = [path for path in SOURCES if room_of(path) not in allowed and path.name != "zerogpu.py"]
    assert [name(path) for path in others if HEAVY & libraries(imported(path))] == []


HEAVY = {"torch", "diffusers", "transformers", "safetensors"}


def libraries(modules: Iterable[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


def test_the_sizes_that_profiles_read_are_data_alone() -> None:
    assert imported(ROOT.joinpath(*SIZES.split(".")).with_suffix(".py")) == {"typing.Any"}
    readers = {name(path) for path in SOURCES if SIZES in imported(path) and room_of(path) != "engine"}
    assert readers == {"wan_core/profiles.py"}


def test_only_the_worker_and_zerogpu_carry_out_the_recipe() -> None:
    assert {name(path) for path in SOURCES if "clips" in rooms_used(path)} == {
        "wan_core/backends/worker.py",
        "wan_core/backends/zerogpu.py",
    }


def test_ray_is_imported_by_the_link_to_the_cluster_alone() -> None:
    assert [name(path) for path in (*SOURCES, APP) if "ray" in libraries(imported(path))] == [
        "wan_core/backends/ray.py"
    ]
    users = {found.rpartition(".")[0] for path in (*SOURCES, APP) for found in imported(path)}
    assert "wan_core.backends.ray" not in users


def reads_environment(path: Path) -> bool:
    names = ("environ", "environb", "getenv")
    return any(isinstance(node, ast.Attribute) and node.attr in names for node in ast.walk(parsed(path)))


def test_the_environment_is_read_in_settings_alone() -> None:
    assert {path.name for path in (*SOURCES, APP) if reads_environment(path)} == {"settings.py"}


def at_import(nodes: Iterable[ast.stmt]) -> Iterable[ast.AST]:
    """What runs as soon as a module is imported: neither bodies of functions nor what is for the checker of types."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from at_import(node.orelse)
        else:
            yield from at_import(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def files_of(module: str) -> list[Path]:
    """The files that run when `module` is imported: its own and those of the packages around it."""
    parts = module.split(".")
    found = [ROOT.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
    return [path for base in found for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]


def libraries_loaded_by(*modules: str) -> set[str]:
    """Every library that these modules import at once, through whatever file of ours."""
    waiting, seen, found = [path for module in modules for path in files_of(module)], set(), set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        names = names_imported(path, at_import(parsed(path).body))
        found |= libraries(names)
        waiting += [file for each in names if each.startswith("wan_core.") for file in files_of(each)]
    return found


WEB = ("wan_core.ui", "wan_core.api", "wan_core.jobs", "wan_core.backends.local")


def test_the_web_process_imports_no_torch_through_any_file_of_ours() -> None:
    found = libraries_loaded_by(*WEB, "app")
    assert {"gradio", "starlette"} <= found and not HEAVY & found
    assert {"torch", "diffusers"} <= libraries_loaded_by("wan_core.engine.loading")


IN_LIGHT_ROOMS = """
import sys
from importlib import import_module
import numpy as np

def check(what):
    assert not {"torch", "diffusers", "transformers", "huggingface_hub"} & set(sys.modules), what

for room in sys.argv[1:]:
    import_module(f"wan_core.{room}")
    check(room)
from pathlib import Path
from wan_core import interpolation
from wan_core.interpolation import InterpolationPlan, find_declaration, iter_interpolated
for file in Path(interpolation.__file__).parent.glob("[!_]*.py"):
    find_declaration(file.stem)
    check(f"looking {file.stem} up")
black = np.zeros((32, 32, 3), np.uint8)
assert len(list(iter_interpolated([black] * 2, 1, InterpolationPlan("fallback")))) == 3
check("the fallback")
"""


def test_light_rooms_are_imported_and_frames_are_blended_without_torch_and_without_the_hubs_client() -> None:
    safety = ("safety", "expansion", "expansion.server", "expansion.local", "prompting")
    rooms = ("hub", "interpolation", "engine.miniature", "estimator", *safety)
    subprocess.run([sys.executable, "-W", "ignore", "-c", IN_LIGHT_ROOMS, *rooms], cwd=ROOT, check=True)


@pytest.mark.slow
def test_the_web_process_starts_without_torch() -> None:
    check = f"import sys, {', '.join(WEB)}; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    subprocess.run([sys.executable, "-W", "ignore", "-c", check], cwd=ROOT, check=True)


def engines_compared_in(path: Path) -> set[str]:
    compared = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Compare)]
    words = {part.value for node in compared for part in ast.walk(node) if isinstance(part, ast.Constant)}
    return {word for word in words if isinstance(word, str)} & set(profiles())


def test_engines_are_told_apart_in_profiles_alone() -> None:
    """Others read a profile's fields; a name of an engine beside a comparison would be a second place to change."""
    others = [path for path in (*SOURCES, APP) if name(path) != "wan_core/profiles.py"]
    assert {name(path): told for path in others if (told := engines_compared_in(path))} == {}
    assert [name(path) for path in (*SOURCES, APP) if "wan_core.profiles.MINIATURE" in imported(path)] == []


def test_the_page_is_never_mounted() -> None:
    """Gradio checks the paths of files, and answers MCP, only where it is launched."""
    for path in (*SOURCES, APP):
        assert "mount_gradio" + "_app(" not in path.read_text("utf-8"), path
