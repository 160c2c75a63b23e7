"""How events of the page run: the arguments that all of a kind share."""

from typing import Any

HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
RUN: dict[str, Any] = {**HIDDEN, "concurrency_limit": None}
UNQUEUED: dict[str, Any] = {**HIDDEN, "queue": False}  # for what cannot be refused: Gradio shows no error of these
BROWSER: dict[str, Any] = {"fn": None, "api_visibility": "private"}
