"""The app: settings → store → backends → page and HTTP → launch. Wiring only; run it with `python app.py`."""

import logging
import signal
from functools import partial

from wan_core import api, intake, profiles, settings, ui
from wan_core.backends import fal
from wan_core.backends.local import LocalBackend
from wan_core.calibration import Calibration
from wan_core.estimator import Estimator
from wan_core.jobs.budget import FalBudget
from wan_core.jobs.housekeeping import Housekeeping
from wan_core.jobs.runner import JobRunner, WorkerPool
from wan_core.jobs.service import JobOptions, JobService
from wan_core.jobs.store import JobStore


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else each look at a job on fal is a line
    host = settings.load()
    machine, apart = profiles.detect(host), not host.listens_on_loopback
    choice = profiles.choose(host, machine)
    estimator = Estimator(machine, Calibration(host.data.calibration))
    store = JobStore(host.data.database)
    budget = FalBudget(store, host, per_client=apart)
    if machine.zero_gpu:
        from wan_core.backends import zerogpu  # the one place where torch is in this process

        here = WorkerPool(zerogpu.ZeroGpuBackend(host, choice.profile.name), concurrency=0)
    else:
        here = WorkerPool(LocalBackend(host.limits, partial(estimator.wall_limit_s, limits=host.limits)), concurrency=1)
    pools = {"local": here, "fal": WorkerPool(fal.FalBackend(store, budget, host.data, host.limits), concurrency=4)}
    told = {"on_local_clip": estimator.learn_from, "checks_fal_jobs": host.force_safety}
    runner = JobRunner(store, pools, host.limits, per_client=apart, **told)
    own_file = api.local_file(host.data)
    read = partial(intake.read, fetch=intake.Fetcher(), local=own_file, uploads=ui.uploads_folder())
    jobs = JobService(store, runner, host.data, host.limits, read, profiles.pool_of, per_client=apart, budget=budget)

    page = ui.build(jobs, host, estimator, choice, fal=budget.access, expand=jobs.expand)
    enter = partial(zerogpu.enter, page) if machine.zero_gpu else api.no_context
    options = JobOptions(choice.profile.name)
    http = api.build(jobs, host, options, seconds_of=estimator.seconds_of, enter=enter)
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
