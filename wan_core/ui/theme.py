"""Colours, fonts and scripts of the page, as arguments of `launch()`; all served from this machine."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from wan_core.settings import Limits
from wan_core.ui import example_clips
from wan_core.ui.event_faults import FAULT_HANDLERS
from wan_core.ui.explore import assets
from wan_core.ui.languages.page import SpeakTheirLanguage
from wan_core.ui.long_links import RefuseLongLinks
from wan_core.ui.quiet_queue import MOST_AT_ONCE, quieten

Lifespan = Callable[..., AbstractAsyncContextManager[None]]

HERE = Path(__file__).parent
SYSTEM_FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")


@cache
def theme() -> gr.themes.Base:
    """Indigo on slate. Subdued text is darker than Gradio's, like buttons and links, for a contrast of 4.5 to 1."""
    return gr.themes.Default(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        font=SYSTEM_FONT,
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"),
    ).set(
        body_text_color_subdued="*neutral_500",
        block_info_text_color="*neutral_500",
        input_placeholder_color="*neutral_500",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_hover="#991b1b",
        button_cancel_background_fill_dark="#b91c1c",
        button_cancel_background_fill_hover_dark="#991b1b",
        button_cancel_text_color="white",
        button_cancel_text_color_dark="white",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_hover_dark="*primary_200",
        link_text_color_visited_dark="*primary_300",
    )


def launch(
    page: gr.Blocks,
    *,
    routes: Sequence[BaseRoute],
    middleware: Sequence[Middleware],
    lifespan: Lifespan | None = None,
) -> None:
    """Serve `page`, with `routes` before Gradio's own, until the process is told to stop."""
    quieten(page._queue)
    page.launch(mcp_server=True, **app_options(routes, middleware, lifespan))


def app_options(
    routes: Sequence[BaseRoute], middleware: Sequence[Middleware], lifespan: Lifespan | None = None
) -> dict[str, Any]:
    """All arguments for `launch()`: the page's own, and the server's."""
    return {
        "max_threads": MOST_AT_ONCE,
        "ssr_mode": False,  # server-side rendering would lose the routes
        "show_error": False,
        "run_history": False,
        "app_kwargs": {
            "routes": [*example_clips.ROUTES, *routes],
            "middleware": [Middleware(RefuseLongLinks), Middleware(SpeakTheirLanguage), *middleware],
            "exception_handlers": FAULT_HANDLERS,
            **({"lifespan": lifespan} if lifespan else {}),
        },
        **launch_options(),
    }


def launch_options() -> dict[str, Any]:
    """The page's arguments for `launch()`. They open no folder to the web."""
    return {
        "theme": theme(),
        "css": (HERE / "page.css").read_text("utf-8") + assets.styles(),
        "head": f"<script>{scripts()}\n{assets.scripts()}</script>",
        "footer_links": ["api"],
        "max_file_size": Limits().max_upload_bytes,
        "state_session_capacity": Limits().page_sessions,
    }


def scripts() -> str:
    """`page.js` and the small files beside it; `root.js` first, which others need as they load."""
    files = sorted(HERE.glob("*.js"), key=lambda file: (file.name != "root.js", file.name))
    return "\n".join(file.read_text("utf-8") for file in files)
