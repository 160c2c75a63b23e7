"""The form as the browser keeps it, so that a reload finds it as it was. What comes back is untrusted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from wan_core import recipe
from wan_core.errors import InputError
from wan_core.events import Where
from wan_core.intake import Refused
from wan_core.intake.uploads import uploaded
from wan_core.presets import presets
from wan_core.recipe import Recipe
from wan_core.schema import ImageToVideoInput
from wan_core.ui.controls import PICTURE_IS_UPLOADED, UPLOAD_BOXES
from wan_core.ui.tuning import Tuned

MAX_ADDRESS_CHARS = 2_100  # a data URI may have 35 MB
SWITCHES = ("prompt_in_file", "picture_detail")


@dataclass(frozen=True)
class KeptForm:
    """`query` is the page's; `values` are the form's; `is_reload`: this tab kept them at the same address."""

    query: str
    values: Mapping[str, Any] | None
    preset: str | None
    is_reload: bool


def to_text(request: ImageToVideoInput, given: Mapping[str, Any], tuned: Tuned) -> str:
    """The form as text: `request` is the draft in it."""
    values = request.model_dump() | {"prompt": given["prompt"] or ""}
    for name in UPLOAD_BOXES:
        if values[name] == PICTURE_IS_UPLOADED or len(values[name] or "") > MAX_ADDRESS_CHARS:
            values[name] = ""
    page = {name: given[name] for name in (*UPLOAD_BOXES.values(), "where", *SWITCHES)}
    settings = recipe.to_comment(Recipe(values, given["engine"]), "")
    return json.dumps({"settings": settings, "page": page, "preset": tuned.preset}, ensure_ascii=False)


def from_text(text: object, uploads: Path) -> KeptForm:
    """What the browser sends when the page opens."""
    plain = _plain(text)
    query = plain.get("query")
    form = _plain(plain.get("form"))
    preset = form.get("preset")
    return KeptForm(
        query if isinstance(query, str) else "",
        _values(form, uploads),
        preset if isinstance(preset, str) and preset in presets() else None,
        plain.get("first") is True,
    )


def _values(form: Mapping[str, Any], uploads: Path) -> dict[str, Any] | None:
    try:
        kept = recipe.from_comment(str(form.get("settings", "")))
    except InputError:
        return None
    page = form.get("page")
    page = page if isinstance(page, dict) else {}
    empty: dict[str, Any] = {"prompt": "", "seed": None, **dict.fromkeys(UPLOAD_BOXES, "")}
    values = empty | dict(kept.values) | {"engine": kept.engine}
    values |= {box: _picture(page.get(box), uploads) for box in UPLOAD_BOXES.values()}
    if page.get("where") in get_args(Where):
        values["where"] = page["where"]
    return values | {name: page[name] for name in SWITCHES if isinstance(page.get(name), bool)}


def _picture(path: object, uploads: Path) -> str | None:
    """The upload, if it is still one."""
    try:
        return str(uploaded(Path(path), uploads)) if isinstance(path, str) and path else None
    except Refused:
        return None


def _plain(text: object) -> dict[str, Any]:
    try:
        plain = json.loads(text) if isinstance(text, str) and text else {}
    except (ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}
