"""Gradio's queue, made to fit this app: room for every page that follows a job, and rest while there is nothing to do.

Gradio looks for work 1,000 times a second and for progress 100 times (4 % of a core in a server that nobody uses), and
sums up all its events with pandas after each. The attributes are undocumented: `tests/ui/test_quiet_queue.py` says so
when Gradio renames them.
"""

import sys
from importlib.util import find_spec
from typing import Final

from gradio.queueing import Queue

MOST_AT_ONCE: Final = 400  # events; each page that waits for its job is one
QUIET: Final = {
    "sleep_when_free": 0.05,
    "progress_update_sleep_when_free": 0.1,
    "ANAYLTICS_CACHE_FREQUENCY": sys.maxsize,  # Gradio's spelling
    "ANALYTICS_MAX_EVENTS": 1,
}


def quieten(queue: Queue) -> None:
    """Call it before the launch."""
    for name, value in QUIET.items():
        setattr(queue, name, value)
    if find_spec("matplotlib") is None:
        sys.modules["matplotlib"] = None  # type: ignore[assignment]  # else each event looks through the path for it
