"""Wire settings → service → page and HTTP → launch. Run with `python app.py`."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import gradio as gr
from starlette.requests import Request

from wan_core import api, intake, logs, profiles, settings, ui
from wan_core.backends import Backend
from wan_core.backends.cluster import Cluster, ClusterBackend
from wan_core.backends.fal import FalBackend
from wan_core.backends.local import LocalBackend
from wan_core.backends.several import SeveralBackends
from wan_core.calibration import Calibration
from wan_core.estimator import Estimator
from wan_core.events import JobOptions
from wan_core.jobs.budget import FalBudget
from wan_core.jobs.fal_keys import FalKeys
from wan_core.jobs.housekeeping import Housekeeping
from wan_core.jobs.leftovers import Leftovers
from wan_core.jobs.runner import JobRunner, WorkerPool
from wan_core.jobs.service import JobService
from wan_core.jobs.store import JobStore
from wan_core.jobs.sweeps import SweepService
from wan_core.profiles import Choice, Machine
from wan_core.serving import serve as serve_endpoint
from wan_core.settings import Settings

PARALLEL_FAL_JOBS = 4
QUEUED_EVENTS = 200
CLUSTER_PATIENCE_S = 60.0
NO_CLUSTER = (
    "No worker of the Ray cluster at {address} (WAN_RAY_ADDRESS) answered within {patience_s:g} s. Start one, or name "
    "the engine with WAN_ENGINE: then the app starts without them, and clips wait."
)


@dataclass(frozen=True)
class Service:
    """Everything behind page and HTTP."""

    settings: Settings
    choice: Choice
    estimator: Estimator
    store: JobStore
    runner: JobRunner
    jobs: JobService
    sweeps: SweepService
    budget: FalBudget
    enter: Callable[[gr.Blocks, Request], None]

    def close(self) -> None:
        self.runner.close()
        self.store.close()


def build_service(host: Settings, worker: Backend | None = None) -> Service:
    """Build without starting anything but the link to a cluster. `worker`: in the place of this machine's own."""
    cluster = Cluster() if host.ray_address and worker is None else None
    machine = profiles.detect(host) if cluster is None else _machine_of(cluster, host)
    per_client_limits = not host.listens_on_loopback
    choice = profiles.choose(host, machine)
    if refusal := profiles.why_not_together(host, machine, choice.profile):
        if cluster is not None:
            cluster.close()
        raise SystemExit(refusal)
    estimator = Estimator(machine, Calibration(host.files.calibration), film_on_cpu=host.film_on_cpu)
    store = JobStore(host.files.database)
    budget, keys = FalBudget(store, host, per_client=per_client_limits), FalKeys(store, host.fal_key)
    local, enter = _local_pool(host, choice, estimator, worker, cluster)
    remote = WorkerPool(_fal_backend(host, store, keys, budget), PARALLEL_FAL_JOBS)
    runner = JobRunner(
        store,
        {"local": local, "fal": remote},
        host.limits,
        per_client=per_client_limits,
        on_local_clip=estimator.learn_from,
        on_end=Leftovers(store, host.files).remove,
        checks_fal_jobs=host.force_safety,
    )
    if cluster is not None:
        cluster.call_on_change(lambda now: runner.set_workers("local", now.workers, now.trouble))
    read_picture = partial(
        intake.read, fetch=intake.Fetcher(), local=api.local_file(host.files), uploads=ui.uploads_folder()
    )
    jobs = JobService(
        store,
        runner,
        host.files,
        host.limits,
        read_picture,
        profiles.pool_of,
        per_client=per_client_limits,
        budget=budget,
        keys=keys,
        seconds_of=estimator.seconds_of,
    )
    sweeps = SweepService(jobs, host.files)
    return Service(host, choice, estimator, store, runner, jobs, sweeps, budget, enter)


def _fal_backend(host: Settings, store: JobStore, keys: FalKeys, budget: FalBudget) -> FalBackend:
    return FalBackend(store, keys, budget, host.files, host.limits, forces_checks=host.force_safety)


def _local_pool(
    host: Settings, choice: Choice, estimator: Estimator, worker: Backend | None, cluster: Cluster | None
) -> tuple[WorkerPool, Callable[[gr.Blocks, Request], None]]:
    """Return the pool, and what prepares an HTTP request's context for it."""
    if worker is not None:
        return WorkerPool(worker, concurrency=1), lambda page, request: None
    if cluster is not None:
        backend = ClusterBackend(cluster, host.limits, partial(estimator.wall_limit_s, limits=host.limits))
        return WorkerPool(backend, concurrency=0, varies=True), lambda page, request: None
    if not estimator.machine.zero_gpu:
        return _worker_processes(host, estimator), lambda page, request: None
    settings.let_cuda_memory_grow()
    from wan_core.backends import zerogpu  # the only import of torch in this process

    return WorkerPool(zerogpu.ZeroGpuBackend(host, choice.profile.name), concurrency=0), zerogpu.enter


def _machine_of(cluster: Cluster, host: Settings) -> Machine:
    """The smallest machine of the cluster; one that runs `WAN_ENGINE`, if none has answered in time.

    Raises:
        SystemExit: none has answered, and the engine depends on what they are.
    """
    cluster.start()
    machine = cluster.machine(CLUSTER_PATIENCE_S)
    if machine is None and not host.engine:
        cluster.close()
        raise SystemExit(NO_CLUSTER.format(address=host.ray_address, patience_s=CLUSTER_PATIENCE_S))
    return machine or profiles.machine_for(host)


def _worker_processes(host: Settings, estimator: Estimator) -> WorkerPool:
    """One process a card or a group of cards, or `WAN_WORKERS` that share the cores."""
    environments = estimator.machine.worker_environments()
    wall_limit_s = partial(estimator.wall_limit_s, limits=host.limits)
    workers = [LocalBackend(host.limits, wall_limit_s, environment) for environment in environments]
    return WorkerPool(SeveralBackends(workers), concurrency=len(workers))


def serve(service: Service) -> None:
    """Block until SIGTERM or Ctrl-C."""
    host, jobs = service.settings, service.jobs
    page = ui.build(
        jobs,
        host,
        service.estimator,
        service.choice,
        fal=service.budget.access,
        expand=jobs.expand,
        sweeps=service.sweeps,
    )
    http = api.build(
        jobs,
        host,
        JobOptions(service.choice.profile.name),
        seconds_of=service.estimator.seconds_of,
        enter=partial(service.enter, page),
        serving=partial(serve_endpoint, choice=service.choice, machine=service.estimator.machine),
        page_uploads=ui.uploads_folder(),
    )

    def tidy_uploads() -> None:
        http.tidy()
        ui.remove_unfinished_uploads()
        service.sweeps.tidy(host.limits.keep_results_s)

    housekeeping = Housekeeping(
        service.runner, service.store, host.files, host.limits, also=tidy_uploads, often=http.drop_expired
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Gradio waits in a loop that ends on Ctrl-C
    service.runner.start()
    housekeeping.start()
    http.webhooks.start()
    page.queue(max_size=QUEUED_EVENTS, default_concurrency_limit=None, api_open=False)
    try:
        ui.launch(page, routes=http.routes, middleware=http.middleware, lifespan=http.lifespan)
    finally:
        http.webhooks.close()
        housekeeping.close()
        service.close()


def main() -> None:
    host = settings.load()
    logs.set_up(host.log_level)
    host.files.require_writable()
    serve(build_service(host))


if __name__ == "__main__":
    main()
