"""What the browser tests of the grid share: cells with clips, opening them, and what is on show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.support.grid_page import READ_FRAMES, cell, grid, write_page

CLIPS = {"a": (33, 16), "b": (33, 16), "short": (17, 16), "fast": (64, 32), "slow": (16, 8), "film": (48, 24)}
AXES = [{"title": "Guidance", "labels": ["1", "3.5", "6"]}, {"title": "Shift", "labels": ["2", "5"]}]
PLAYING = "[...document.querySelectorAll('.cell video')].filter(v => !v.paused && v.readyState > 2).length"


def clip_cell(job: str, place: tuple[int, int, int], clip: str, **data: Any) -> str:
    frames, fps = CLIPS[clip]
    return cell(job, place, clip=f"{clip}.mp4", frames=frames, fps=fps, **data)


def six(clips: Sequence[str] = ("a", "b", "short", "fast", "slow", "film")) -> str:
    """Three columns and two rows."""
    return grid([clip_cell(f"job-{at}", (at % 3, at // 3, 0), clip) for at, clip in enumerate(clips)], axes=AXES)


def open_grid(page: Page, site: tuple[Path, str], body: str, name: str = "index.html") -> None:
    folder, address = site
    write_page(folder, body, name)
    page.goto(f"{address}/{name}")


def shown_frames(page: Page) -> list[int]:
    page.wait_for_function(
        "[...document.querySelectorAll('.cell:not(.behind) video')].every(v => v.readyState >= 2 && !v.seeking)"
    )
    page.wait_for_timeout(150)  # until the sought frames are painted
    read: list[int] = page.evaluate(f"({READ_FRAMES})([...document.querySelectorAll('.cell:not(.behind) video')])")
    return read


def pause(page: Page) -> None:
    page.wait_for_function(f"{PLAYING} > 0")
    page.click(".transport [data-do=play]")
    expect(page.locator(".transport [data-do=play]")).to_have_text("Play")
