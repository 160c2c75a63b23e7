"""Run jobs on fal."""

from wan_core.backends.fal.backend import FalBackend
from wan_core.backends.fal.retry import Timeouts
from wan_core.backends.fal.wire import Hosts

__all__ = ["FalBackend", "Hosts", "Timeouts"]
