"""The app: settings → store → backends → page → launch. Wiring only; run it with `python app.py`."""

import logging
import signal
from functools import partial
from types import FrameType

from wan_core import intake, profiles, settings, ui
from wan_core.backends.local import LocalBackend
from wan_core.jobs import Jobs
from wan_core.jobs.runner import JobRunner, Lane
from wan_core.jobs.store import JobStore


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    host = settings.load()
    machine = profiles.detect(host)
    choice = profiles.choose(host, machine)
    store = JobStore(host.data.database)
    local = LocalBackend(host.limits, lambda job: host.limits.min_job_s)
    lanes = {"local": Lane(local, at_once=1)}
    per_client = not host.listens_on_loopback
    runner = JobRunner(store, lanes, host.limits, per_client=per_client)
    read_picture = partial(
        intake.read, fetch=intake.Fetcher(), local=lambda url: None, uploads=ui.uploads_folder()
    )
    jobs = Jobs(store, runner, host.data, host.limits, read_picture, lambda wish: "local", per_client=per_client)
    page = ui.build(jobs, host, machine, choice)
    runner.start()
    local.start()

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # Gradio waits in a loop that ends on this

    signal.signal(signal.SIGTERM, stop)
    try:
        page.queue(max_size=200, default_concurrency_limit=None).launch(
            ssr_mode=False, show_error=False, run_history=False, mcp_server=True, **ui.launch_options()
        )
    finally:
        runner.close()
        store.close()


if __name__ == "__main__":
    main()
