"""An app without a page: it begins one slow clip on the cluster, prints the job's id once it runs, and is killed.

`python -m tests.support.cluster_app`, with `WAN_RAY_ADDRESS` and `WAN_DATA_DIR`.
"""

import sys
import time

from tests.support.app import ROOT
from tests.support.jobs import NO_FLOOR, SHORT, a_house
from wan_core import settings
from wan_core.backends.cluster import Cluster, ClusterBackend
from wan_core.events import Step

PROGRAM = ["-S", str(ROOT / "tests/support/sleeping_worker.py"), "0.25"]


def main() -> None:
    link = Cluster(PROGRAM)
    link.start()
    backend = ClusterBackend(link, NO_FLOOR, lambda job: 300)
    with a_house(settings.load().files, backend, concurrency=0, varies=True) as house:
        link.call_on_change(lambda now: house.runner.set_workers("local", now.workers, now.trouble))
        record = house.submit(**SHORT | {"num_inference_steps": 40, "seed": 21})
        while not any(isinstance(event, Step) for event in record.events):
            time.sleep(0.05)
        sys.stdout.write(record.job.id + "\n")
        sys.stdout.flush()
        time.sleep(600)


if __name__ == "__main__":
    main()
