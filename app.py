"""The app: settings → store → backends → page and HTTP → launch. Wiring only; run it with `python app.py`."""

import logging
import signal
from functools import partial

from wan_core import api, estimate, intake, profiles, settings, ui
from wan_core.backends import fal
from wan_core.backends.local import LocalBackend
from wan_core.jobs import Jobs, Wish
from wan_core.jobs.housekeeping import Housekeeping
from wan_core.jobs.runner import JobRunner, Lane
from wan_core.jobs.spending import Purse
from wan_core.jobs.store import JobStore


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else each look at a job on fal is a line
    host = settings.load()
    machine, apart = profiles.detect(host), not host.listens_on_loopback
    choice = profiles.choose(host, machine)
    known = {"machine": machine, "calibration": estimate.Calibration(host.data.calibration)}
    store = JobStore(host.data.database)
    purse = Purse(store, host, per_client=apart)
    if machine.zero_gpu:
        from wan_core.backends import zerogpu  # the one place where torch is in this process

        here = Lane(zerogpu.ZeroGpuBackend(host, choice.profile.name), at_once=0)
    else:
        here = Lane(LocalBackend(host.limits, partial(estimate.wall_limit_s, **known, limits=host.limits)), at_once=1)
    lanes = {"local": here, "fal": Lane(fal.FalBackend(store, purse, host.data, host.limits), at_once=4)}
    told = {"on_local_clip": partial(estimate.learn_from, **known), "checks_fal_jobs": host.force_safety}
    runner = JobRunner(store, lanes, host.limits, per_client=apart, **told)
    own_file = api.local_file(host.data)
    read = partial(intake.read, fetch=intake.Fetcher(), local=own_file, uploads=ui.uploads_folder())
    jobs = Jobs(store, runner, host.data, host.limits, read, profiles.lane_of, per_client=apart, purse=purse)

    page = ui.build(jobs, host, **known, choice=choice, fal=purse.access, expand=jobs.expand)
    enter = partial(zerogpu.enter, page) if machine.zero_gpu else api.no_context
    wish, seconds_of = Wish(choice.profile.name), partial(estimate.seconds_of, **known)
    http = api.build(jobs, host, wish, seconds_of=seconds_of, enter=enter)
    housekeeping = Housekeeping(runner, store, host.data, host.limits, also=http.tidy)
    served = {"routes": http.routes, "middleware": http.middleware}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Gradio waits in a loop that ends on Ctrl-C
    runner.start()
    housekeeping.start()
    try:
        options = ui.launch_options() | {"ssr_mode": False, "show_error": False, "run_history": False}
        page.queue(max_size=200, default_concurrency_limit=None).launch(mcp_server=True, app_kwargs=served, **options)
    finally:
        housekeeping.close()
        runner.close()
        store.close()


if __name__ == "__main__":
    main()
