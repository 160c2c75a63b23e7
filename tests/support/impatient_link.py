"""The link to a Ray cluster, but with seconds in the place of minutes until a silent machine is given up."""

import sys
from dataclasses import replace

from wan_core import settings
from wan_core.settings import Limits

if __name__ == "__main__":
    settings.Limits = lambda **fields: replace(Limits(**fields), heartbeat_timeout_s=15)  # type: ignore[assignment, misc]
    from wan_core.backends import ray

    ray.main(sys.argv[1:])
