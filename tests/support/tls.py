"""TLS in front of a plain server, with fresh certificates for fal's names."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import trustme
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tests.support.serving import serving

NAMES = ("fal.run", "queue.fal.run", "rest.fal.ai", "v3.fal.media", "127.0.0.1", "localhost")
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]


@contextmanager
def terminated(home: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield an https address for `home`, and the CA file that verifies it."""
    authority = trustme.CA()
    certificate = authority.issue_cert(*NAMES)
    key, chain, ca = folder / "key.pem", folder / "chain.pem", folder / "ca.pem"
    certificate.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    authority.cert_pem.write_to_path(ca)
    with serving(_forwarder(home), ssl_keyfile=key, ssl_certfile=chain) as secure:
        yield secure, ca


def _forwarder(home: str) -> Starlette:
    client = httpx.AsyncClient(base_url=home, timeout=None, trust_env=False)

    async def forward(request: Request) -> StreamingResponse:
        headers = [*request.headers.raw, (b"x-forwarded-proto", b"https")]
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        onward = client.build_request(request.method, path, headers=headers, content=request.stream())
        answer = await client.send(onward, stream=True)
        response = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
        response.raw_headers = answer.headers.raw
        return response

    @asynccontextmanager
    async def closing(app: Starlette) -> AsyncIterator[None]:
        yield
        await client.aclose()

    return Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)], lifespan=closing)


@contextmanager
def tunnel(port: int) -> Iterator[str]:
    """Yield an HTTP proxy that leads every CONNECT to local `port`."""
    loop = asyncio.new_event_loop()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer), return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(connect, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
