"""The styles and scripts of the grid: for the head of the page, and for the exported page, which needs no server."""

from functools import cache
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
GRID = ("clock.js", "transport.js", "cells.js", "layout.js", "player.js", "actions.js", "compare.js", "chart.js")
PLAYER = ("words.js", *GRID)
PAGE = (*PLAYER, "media_texts.js", "comfyui.js", "foreign_settings.js", "history_store.js", "history.js", "explore.js")
"""In the order of loading: each uses those before it."""


@cache
def styles() -> str:
    return "".join((HERE / name).read_text("utf-8") for name in ("player.css", "explore.css"))


@cache
def scripts() -> str:
    return _joined(PAGE)


def _joined(names: tuple[str, ...]) -> str:
    return "\n".join((HERE / name).read_text("utf-8") for name in names)


def exported_page(title: str, grid: str) -> str:
    """One HTML file that plays `grid` (HTML with addresses relative to the file) from a disk or any host."""
    page = (HERE / "export.html").read_text("utf-8")
    parts = {"TITLE": escape(title), "STYLES": styles(), "SCRIPTS": _joined(PLAYER), "GRID": grid}
    for name, part in parts.items():
        page = page.replace(f"<!--{name}-->", part)
    return page
