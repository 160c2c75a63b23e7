"""The app: settings → store → backends → page and HTTP → launch. Wiring only; run it with `python app.py`."""

import signal
from functools import partial

from wan_core import api, estimate, intake, logs, profiles, settings, ui
from wan_core.backends import fal
from wan_core.backends.local import LocalBackend
from wan_core.events import JobOptions
from wan_core.jobs.budget import FalBudget
from wan_core.jobs.fal_keys import FalKeys
from wan_core.jobs.housekeeping import Housekeeping
from wan_core.jobs.runner import JobRunner, WorkerPool
from wan_core.jobs.service import JobService
from wan_core.jobs.store import JobStore


def main() -> None:
    host = settings.load()
    logs.set_up(host.log_level)
    machine, apart = profiles.detect(host), not host.listens_on_loopback
    choice = profiles.choose(host, machine)
    known = {"machine": machine, "calibration": estimate.Calibration(host.files.calibration)}
    store = JobStore(host.files.database)
    budget, fal_keys = FalBudget(store, host, per_client=apart), FalKeys(store, host.fal_key)
    if machine.zero_gpu:
        from wan_core.backends import zerogpu  # the one place where torch is in this process

        here = WorkerPool(zerogpu.ZeroGpuBackend(host, choice.profile.name), concurrency=0)
    else:
        here = WorkerPool(
            LocalBackend(host.limits, partial(estimate.wall_limit_s, **known, limits=host.limits)), concurrency=1
        )
    pools = {
        "local": here,
        "fal": WorkerPool(fal.FalBackend(store, fal_keys, budget, host.files, host.limits), concurrency=4),
    }
    told = {"on_local_clip": partial(estimate.learn_from, **known), "checks_fal_jobs": host.force_safety}
    runner = JobRunner(store, pools, host.limits, per_client=apart, **told)
    own_file = api.local_file(host.files)
    read = partial(intake.read, fetch=intake.Fetcher(), local=own_file, uploads=ui.uploads_folder())
    jobs = JobService(
        store, runner, host.files, host.limits, read, profiles.pool_of, per_client=apart, budget=budget, keys=fal_keys
    )

    page = ui.build(jobs, host, **known, choice=choice, fal=budget.access, expand=jobs.expand)
    enter = partial(zerogpu.enter, page) if machine.zero_gpu else api.no_context
    options, seconds_of = JobOptions(choice.profile.name), partial(estimate.seconds_of, **known)
    http = api.build(jobs, host, options, seconds_of=seconds_of, enter=enter)

    def tidy_uploads() -> None:
        http.tidy()
        ui.remove_unfinished_uploads()

    housekeeping = Housekeeping(runner, store, host.files, host.limits, also=tidy_uploads)
    served = {"routes": http.routes, "middleware": http.middleware, "exception_handlers": ui.FAULT_HANDLERS}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Gradio waits in a loop that ends on Ctrl-C
    runner.start()
    housekeeping.start()
    try:
        options = ui.launch_options() | {"ssr_mode": False, "show_error": False, "run_history": False}
        page.queue(max_size=200, default_concurrency_limit=None, api_open=False).launch(
            mcp_server=True, app_kwargs=served, **options
        )
    finally:
        housekeeping.close()
        runner.close()
        store.close()


if __name__ == "__main__":
    main()
