"""The README says what the code does: the table is the schema's, the commands and files it names exist."""

import importlib.util
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_parameter_table_is_the_schemas() -> None:
    spec = importlib.util.spec_from_file_location("parameters", ROOT / "docs" / "parameters.py")
    assert spec and spec.loader
    parameters = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(parameters)
    assert parameters.with_table(README) == README, "run: python docs/parameters.py --write"


def test_the_space_card_is_complete() -> None:
    card = yaml.safe_load(README.split("---\n")[1])
    assert card["sdk"] == "gradio" and card["app_file"] == "app.py" and (ROOT / card["app_file"]).is_file()
    assert len(card["short_description"]) <= 60
    assert {"title", "emoji", "colorFrom", "colorTo", "sdk_version", "python_version", "license", "models"} <= set(card)


def test_the_cards_gradio_satisfies_the_requirements() -> None:
    card = yaml.safe_load(README.split("---\n")[1])
    pinned = re.search(r"^gradio\[mcp\]>=(\d+\.\d+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned and str(card["sdk_version"]).startswith(pinned.group(1) + ".")


def test_every_file_the_readme_shows_or_links_exists() -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)]+)\)", README):
        assert (ROOT / target.split("#")[0]).exists(), target


def test_every_variable_the_readme_names_is_a_setting() -> None:
    from wan_core.settings import Settings

    known = {f"WAN_{name.upper()}" for name in Settings.model_fields}
    for variable in set(re.findall(r"`(WAN_[A-Z0-9_]+)", README)):
        assert variable in known, variable
