"""fal's HTTP protocol on the port of the page: fal's own clients work against this server.

Knows jobs and endpoints; knows no page, no engine and no backend. Jobs come from the same `JobService` as the page's.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router

from wan_core.api import openapi
from wan_core.api.addressing import PROXY_PATH, Links
from wan_core.api.body_guard import BodyGuard
from wan_core.api.connections import limit_headers
from wan_core.api.handlers import MethodHandlers, NotFound
from wan_core.api.hosts import HostGuard
from wan_core.api.job_routes import JobRoutes
from wan_core.api.keys import Keys
from wan_core.api.last_resort import LastResort
from wan_core.api.middleware import Dispatch, NoRelay, NoUnusedRoutes
from wan_core.api.page_statuses import CallerFaults
from wan_core.api.page_uploads import PageUploads
from wan_core.api.refusals import http_refusal
from wan_core.api.upload_room import UploadRoom
from wan_core.api.uploads import Uploads, local_file
from wan_core.api.webhook_signing import Signer
from wan_core.api.webhooks import DELIVERY, Delivery, Webhooks
from wan_core.endpoints import ENDPOINTS, Endpoint
from wan_core.events import Job, JobOptions
from wan_core.jobs.service import JobService
from wan_core.serving import Serving
from wan_core.settings import Settings

__all__ = ["Api", "build", "local_file", "no_context"]


@dataclass(frozen=True)
class Api:
    """What the server is given. `tidy` throws old uploads away: call it at start and now and then; `drop_expired` those
    whose sender set a time: call it every few seconds.

    Start `webhooks` once the jobs run, and close them before the jobs.

    `lifespan` puts the last of the guards around what the server itself adds, CORS preflights for example.
    """

    routes: list[BaseRoute]
    middleware: list[Middleware]
    tidy: Callable[[], None]
    drop_expired: Callable[[], None]
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]]
    webhooks: Webhooks


def no_context(request: Request) -> None:
    """Requests need no context of their own, except on ZeroGPU."""


def build(
    jobs: JobService,
    settings: Settings,
    options: JobOptions,
    *,
    seconds_of: Callable[[Job], float] = lambda job: 0.0,
    enter: Callable[[Request], None] = no_context,
    serving: Callable[[Endpoint], Serving] | None = None,
    page_uploads: Path | None = None,
    delivery: Delivery = DELIVERY,
) -> Api:
    """The routes and what stands before them.

    `options` is how requests over HTTP are carried out, whatever the page shows; `seconds_of` estimates a job; `enter`
    is called in the context of each request that becomes a job (ZeroGPU finds its visitor there); `serving` is how this
    machine carries out each endpoint, by default all with the engine of `options`; `page_uploads` is Gradio's folder,
    which shares the room of all uploads; `delivery`: how webhooks are sent.
    """
    keys = Keys(settings)
    folders = [settings.files.uploads, *([page_uploads] if page_uploads else [])]
    room = UploadRoom(folders, settings.limits, per_client=not settings.listens_on_loopback)
    uploads = Uploads(settings, keys, room)
    serving = serving or (lambda endpoint: Serving(options.engine))
    webhooks = Webhooks(jobs, Signer(settings.files.webhook_key), delivery)
    job_routes = JobRoutes(jobs, settings, keys, uploads.folder, webhooks, options, seconds_of, enter, serving)
    jwks = Route("/.well-known/jwks.json", MethodHandlers(GET=partial(_jwks, webhooks.signer)))
    routes: list[BaseRoute] = [
        jwks,
        _mount("/queue", job_routes.queue_routes()),
        _mount("/run", job_routes.run_routes()),
        _mount("/rest", [*uploads.rest_routes(), jwks]),
        _mount("/cdn", uploads.cdn_routes()),
        _mount("/files", uploads.file_routes()),
        _mount("/jobs", job_routes.job_routes()),
        Route("/api/openapi/queue/openapi.json", MethodHandlers(GET=partial(_openapi, settings))),
        Route(PROXY_PATH, MethodHandlers(**dict.fromkeys(("GET", "POST", "PUT"), _no_target))),
    ]
    middleware = [
        Middleware(LastResort),
        Middleware(Dispatch),
        Middleware(HostGuard, settings),
        Middleware(NoRelay),
        Middleware(NoUnusedRoutes),
        Middleware(BodyGuard, settings.limits),
        Middleware(PageUploads, room, settings),
        Middleware(CallerFaults),
    ]
    limit_headers()
    return Api(routes, middleware, room.tidy, room.drop_expired, guard_all, webhooks)


@asynccontextmanager
async def guard_all(app: Starlette) -> AsyncIterator[None]:
    """For `lifespan`, which begins once the app has all its middleware."""
    assert app.middleware_stack is not None
    app.middleware_stack = LastResort(app.middleware_stack)
    yield


def _mount(prefix: str, routes: Sequence[BaseRoute]) -> Mount:
    return Mount(prefix, Router(routes, redirect_slashes=False, default=NotFound()))


async def _openapi(settings: Settings, request: Request) -> Response:
    endpoint = ENDPOINTS.get(request.query_params.get("endpoint_id", next(iter(ENDPOINTS))).lower())
    if endpoint is None:
        raise http_refusal(404, f"The endpoints of this server: {', '.join(ENDPOINTS)}.", "endpoint_not_found")
    server, needs_key = Links.of(request, settings).queue, not settings.api_is_open
    return JSONResponse(openapi.document(endpoint, server, needs_key=needs_key))


async def _jwks(signer: Signer, request: Request) -> Response:
    """What webhooks of this server are verified with. Receivers may keep it for a day."""
    keys = await asyncio.to_thread(signer.jwks)
    return JSONResponse(keys, headers={"cache-control": "public, max-age=3600"})


async def _no_target(request: Request) -> Response:
    raise http_refusal(400, "Name the address that is meant in the header x-fal-target-url.")
