"""The page: one Blocks app over the jobs. `build` lays it out, `launch` serves it. Knows no engine and no torch."""

from wan_core.ui.page import build
from wan_core.ui.pictures import remove_unfinished_uploads, uploads_folder
from wan_core.ui.theme import launch, launch_options

__all__ = ["build", "launch", "launch_options", "remove_unfinished_uploads", "uploads_folder"]
