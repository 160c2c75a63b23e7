"""What Gradio keeps of a page for each session, without what this page never reads.

Gradio 6.31 copies the settings of every component into each new session, for its deep links: 0.1 s of processor and
200 kB a visitor. The page makes its own links, and the route of Gradio's is closed (`api.middleware.NoUnusedRoutes`).
"""

from typing import Any

from gradio.blocks import BlocksConfig

NOTHING: dict[str, Any] = {}  # one for all: hundreds for each session would wake the garbage collector


class SessionConfig(BlocksConfig):
    """Components and events as one session sees them; the settings of the components stay empty."""

    def config_for_block(self, *_: Any) -> dict[str, Any]:  # type: ignore[override]  # of the class in Gradio
        return NOTHING


class PageConfig(BlocksConfig):
    """The page's components and events; its copies are what sessions get."""

    def __copy__(self) -> SessionConfig:
        copied = SessionConfig(self.root_block)
        vars(copied).update(vars(super().__copy__()))  # type: ignore[no-untyped-call]
        return copied
