"""The page: one Blocks app over the jobs. Knows no engine, no backend and no torch; every generation goes through jobs.

`build` lays out the page, `launch` serves it.
"""

from wan_core.ui.page import build
from wan_core.ui.pictures import uploads_folder
from wan_core.ui.theme import launch, launch_options

__all__ = ["build", "launch", "launch_options", "uploads_folder"]
