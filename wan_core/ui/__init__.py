"""The page: one Blocks app over the jobs. Knows no engine, no backend and no torch; every generation goes through jobs.

`build` lays out the page, `launch_options` says what `launch()` must be given for it.
"""

from wan_core.ui.event_faults import FAULT_HANDLERS
from wan_core.ui.page import build
from wan_core.ui.pictures import remove_unfinished_uploads, uploads_folder
from wan_core.ui.theme import launch_options

__all__ = ["FAULT_HANDLERS", "build", "launch_options", "remove_unfinished_uploads", "uploads_folder"]
