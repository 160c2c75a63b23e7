"""Runs the HTTP API with a scripted backend, in a process of its own: `python -m tests.clients.twin_server --data DIR`.

Prints its address once it answers. Pictures of any web address come from an album on loopback, because tests have no
web: the address is rewritten, then fetched as any other. A prompt that begins with "endless" runs until it is
cancelled, "slowly" takes its time, "refused" fails as a refused prompt would; anything else is a clip in three steps.
"""

import argparse
import asyncio
import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.support.fake_backend import FakeBackend, wait_for_stop
from tests.support.jobs import NO_FLOOR, OPTIONS, a_house
from wan_core import api, intake
from wan_core.api.webhooks import Delivery
from wan_core.errors import InputError
from wan_core.events import Event, Job
from wan_core.files import FileStore
from wan_core.jobs.store import JobStore
from wan_core.settings import Limits, Settings


class SlowBackend(FakeBackend):
    """A fake that takes `step_s` for each step, and knows some words."""

    def __init__(self, data: FileStore, step_s: float) -> None:
        super().__init__(data)
        self.step_s = step_s

    def make_clip(self, job: Job, stop: threading.Event) -> Iterator[Event]:
        first, _, _ = job.inputs.prompt.partition(" ")
        if first == "endless":
            yield from wait_for_stop(job, stop)
        if first == "refused":
            raise InputError("prompt", "content_policy_violation", "The prompt was refused.")
        for event in super().make_clip(job, stop):
            yield event
            stop.wait(1.0 if first == "slowly" else self.step_s)


class AlbumPage(BaseHTTPRequestHandler):
    """The same JPEG at every path."""

    def do_GET(self) -> None:
        picture = io.BytesIO()
        Image.linear_gradient("L").convert("RGB").resize((320, 180)).save(picture, "JPEG")
        self.send_response(200)
        self.send_header("content-type", "image/jpeg")
        self.send_header("content-length", str(len(picture.getvalue())))
        self.end_headers()
        self.wfile.write(picture.getvalue())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Album(intake.Fetcher):
    """A fetcher whose web is the album."""

    def __init__(self) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), AlbumPage)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.port = server.server_address[1]
        limits = intake.FetchLimits(ports=frozenset({self.port}))
        super().__init__(lambda address: address.is_loopback, limits=limits)

    async def fetch(
        self, url: str, into: IO[bytes], *, max_bytes: int, accept: str = "*/*", field: str = "image_url"
    ) -> int:
        here = f"http://127.0.0.1:{self.port}{urlsplit(url).path}"
        return await super().fetch(here, into, max_bytes=max_bytes, accept=accept, field=field)


def delivery_to(port: int) -> Delivery:
    """Webhooks may go to one port of this machine, often."""
    limits = intake.FetchLimits(total_s=5, ports=frozenset({port}))
    return Delivery(intake.Poster(lambda address: address.is_loopback, limits=limits), waits_s=(0.2,) * 1000)


class TwinSettings(Settings):
    """The environment's, without the floor of free disk."""

    @property
    def limits(self) -> Limits:  # type: ignore[override]
        return NO_FLOOR


async def constant(request: Request) -> PlainTextResponse:
    """What a poll is measured against."""
    return PlainTextResponse('{"status": "IN_PROGRESS"}')


def counting(store: JobStore) -> Callable[[Request], Awaitable[PlainTextResponse]]:
    """A route that says how many statements the database has been given."""
    statements: list[str] = []
    store._db.set_trace_callback(statements.append)

    async def count(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(statements)))

    return count


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--step", type=float, default=0.05, help="seconds a step takes")
    parser.add_argument("--receiver", type=int, default=80, help="the port on loopback that webhooks may go to")
    parser.add_argument("--page", action="store_true", help="serve a page of Gradio's too, as the app does")
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    asked = parsed()
    asked.data.mkdir(parents=True, exist_ok=True)
    settings = TwinSettings(data_dir=asked.data)
    read = partial(intake.read, fetch=Album(), local=api.local_file(settings.files))
    with a_house(settings.files, SlowBackend(settings.files, asked.step), read_picture=read) as house:
        built = api.build(house.jobs, settings, OPTIONS, delivery=delivery_to(asked.receiver))
        built.webhooks.start()
        built.routes.extend([Route("/constant", constant), Route("/statements", counting(house.store))])
        (serve_page if asked.page else serve)(built, asked.port)


def serve(built: api.Api, port: int) -> None:
    app = Starlette(routes=built.routes, middleware=built.middleware)
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    threading.Thread(target=announce, args=(server, listener.getsockname()[1]), daemon=True).start()
    asyncio.run(server.serve([listener]))


def announce(server: uvicorn.Server, port: int) -> None:
    while not server.started:
        time.sleep(0.005)
    say(f"http://127.0.0.1:{port}")


def say(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


def serve_page(built: api.Api, port: int) -> None:
    import gradio as gr

    with gr.Blocks() as page:
        gr.Textbox()
    page.queue(max_size=9).launch(
        server_port=port or None,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        show_error=False,
        app_kwargs={"routes": built.routes, "middleware": built.middleware},
    )
    say(page.local_url.rstrip("/"))
    page.block_thread()


if __name__ == "__main__":
    main()
