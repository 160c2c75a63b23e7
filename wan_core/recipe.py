"""A clip's settings as text: the mp4's comment tag and the share link.

Untrusted: numbers are clamped, other unusable values dropped. Where to run costs money, so it is never read.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError

from wan_core import cutting
from wan_core.cutting import Cut
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.events import Group, Job, Where

APP = "wan-2.2-image-to-video"
VERSION = 1
NEWER = "These settings were written by a newer version of this app. Update it to read them."
PLACEHOLDER = {"image_url": "https://example.com/", "prompt": "any"}  # to validate one value on its own


@dataclass(frozen=True)
class Recipe:
    """fal's names; missing fields take their defaults."""

    values: Mapping[str, Any]
    engine: str | None = None
    where: Where | None = None
    picture_detail: bool | None = None
    group: Group | None = None
    cut: Cut = cutting.WHOLE


def from_job(job: Job) -> Recipe:
    """No picture without a public address, no prompts without `prompt_in_file`; neither if private."""
    values = job.inputs.model_dump()
    for name in job.files:
        if not values[name] or job.options.private:
            del values[name]
    if not job.options.prompt_in_file:
        del values["prompt"], values["negative_prompt"]
    options = job.options
    return Recipe(values, options.engine, options.where, options.picture_detail, job.group, options.cut)


def to_comment(recipe: Recipe, job_id: str) -> str:
    plain = {"app": APP, "version": VERSION, "id": job_id, "engine": recipe.engine, "where": recipe.where}
    plain |= {"picture_detail": recipe.picture_detail}
    if recipe.group is not None:
        plain["group"] = asdict(recipe.group)
    if recipe.cut != cutting.WHOLE:
        plain["cut"] = asdict(recipe.cut)
    return json.dumps(plain | {"request": dict(recipe.values)}, ensure_ascii=False)


def from_comment(text: str) -> Recipe:
    """From an mp4's comment tag.

    Raises:
        InputError: no recipe of this app, or a newer version's.
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        plain = None
    if not isinstance(plain, dict) or plain.get("app") != APP or not isinstance(plain.get("request"), dict):
        raise InputError("recipe", "feature_not_supported", "This file carries no settings of this app.")
    if not isinstance(plain.get("version"), int) or plain["version"] > VERSION:
        raise InputError("recipe", "feature_not_supported", NEWER)
    read = _recipe(plain["request"], plain.get("engine"), plain.get("picture_detail"))
    return replace(read, group=_group(plain.get("group")), cut=_cut(plain.get("cut")))


def _group(plain: object) -> Group | None:
    try:
        return GROUP.validate_python(plain)
    except ValidationError:
        return None


def _cut(plain: object) -> Cut:
    try:
        return cutting.CUT.validate_python(plain)
    except ValidationError:
        return cutting.WHOLE


def to_query(recipe: Recipe) -> str:
    """Only what differs from the defaults."""
    different = {name: value for name, value in recipe.values.items() if value != IMAGE_TO_VIDEO.defaults.get(name)}
    if recipe.engine:
        different["engine"] = recipe.engine
    if recipe.picture_detail is False:
        different["picture_detail"] = False
    return urlencode({name: _plain(value) for name, value in different.items()})


def from_query(query: Mapping[str, str]) -> Recipe:
    """Ignores unknown names."""
    return _recipe(query, query.get("engine"), {"true": True, "false": False}.get(query.get("picture_detail", "")))


def _recipe(values: Mapping[str, Any], engine: object, picture_detail: object) -> Recipe:
    kept = {name: _clamp(name, values[name]) for name in IMAGE_TO_VIDEO.fields if name in values}
    usable = {name: value for name, value in kept.items() if value is not None}
    return Recipe(
        usable,
        engine if isinstance(engine, str) else None,
        picture_detail=picture_detail if isinstance(picture_detail, bool) else None,
    )


def _clamp(field: str, value: object) -> Any:
    """`None` if `value` cannot be used."""
    limits = IMAGE_TO_VIDEO.bounds(field)
    if limits and value is not None:
        try:
            number: float = NUMBER.validate_python(value)
        except ValidationError:
            return None
        if math.isnan(number):
            return None
        number = min(max(number, limits[0]), limits[1])
        value = round(number) if IMAGE_TO_VIDEO.is_whole(field) else number
    try:
        return getattr(IMAGE_TO_VIDEO.parse(PLACEHOLDER | {field: value}), field)
    except InputError:
        return None


NUMBER: TypeAdapter[float] = TypeAdapter(float)
GROUP: TypeAdapter[Group] = TypeAdapter(Group)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
