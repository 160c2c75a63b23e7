"""The README says what the code does: the table is the schema's, the commands and files it names exist."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("script", ["parameters", "cards"])
def test_the_tables_are_what_their_scripts_print(script: str) -> None:
    assert load_script(script).with_table(README) == README, f"run: python docs/{script}.py --write"


def load_script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_plans_is_what_the_planner_says() -> None:
    """Nine cards, three sizes, with and without torchao."""
    written = (ROOT / "docs" / "cards.md").read_text("utf-8")
    assert written == load_script("cards").plan_tables(), "run: python docs/cards.py --write"
    assert sum(" frames | " in line for line in written.splitlines()) == 9 * 3 * 2


def test_the_space_card_is_complete() -> None:
    card = yaml.safe_load(README.split("---\n")[1])
    assert card["sdk"] == "gradio" and card["app_file"] == "app.py" and (ROOT / card["app_file"]).is_file()
    assert len(card["short_description"]) <= 60
    assert {"title", "emoji", "colorFrom", "colorTo", "sdk_version", "python_version", "license", "models"} <= set(card)


def test_the_cards_gradio_satisfies_the_requirements() -> None:
    card = yaml.safe_load(README.split("---\n")[1])
    pinned = re.search(r"^gradio\[mcp\]>=(\d+\.\d+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned and str(card["sdk_version"]).startswith(pinned.group(1) + ".")


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_file_that_is_shown_or_linked_exists(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\((?!https?://|#)([^)]+)\)", path.read_text("utf-8")):
        assert (path.parent / target.split("#")[0]).exists(), target


def test_every_variable_the_readme_names_is_a_setting() -> None:
    from wan_core.settings import Settings

    known = {f"WAN_{name.upper()}" for name in Settings.model_fields}
    for variable in set(re.findall(r"`(WAN_[A-Z0-9_]+)", README)):
        assert variable in known, variable
