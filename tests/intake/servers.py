"""Servers on loopback that answer as a test wants, count who came, and names that resolve as a test wants.

127.0.0.1 plays the public internet and 127.0.0.2 the inner network: `public_is_127_0_0_1` allows the first alone.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

from wan_core.intake import Fetcher, FetchLimits
from wan_core.intake.addresses import Address

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def public_is_127_0_0_1(address: Address) -> bool:
    """The address rule of a small world."""
    return address == ip_address("127.0.0.1")


@dataclass
class Server:
    """A running server: its port, one entry per connection, the head of each request."""

    port: int
    connections: int = 0
    requests: list[str] = field(default_factory=list)


@asynccontextmanager
async def serving(
    answer: Answer, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server on `host` that hands the path of each request to `answer`."""
    server = Server(port)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            server.requests.append(head)
            await answer(head.split(" ")[1], writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    listener = await asyncio.start_server(connected, host, port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


def answering(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    """The same answer to every path; a Content-Length unless `headers` name one."""
    named = headers or (f"Content-Length: {len(body)}",)
    head = "\r\n".join([f"HTTP/1.1 {status}", *named, "", ""]).encode()

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head + body)

    return answer


def redirecting(targets: dict[str, str], body: bytes = b"at last") -> Answer:
    """302 for the paths of `targets`, `body` for every other."""

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        reply = answering(body)
        if path in targets:
            reply = answering(b"", f"Location: {targets[path]}", "Content-Length: 0", status="302 Found")
        await reply(path, writer)

    return answer


class Names:
    """A resolver over a table. Each look-up of a name takes its next answer; the last one stays."""

    def __init__(self, table: dict[str, Iterable[Sequence[str]]]) -> None:
        self._answers = {name: list(answers) for name, answers in table.items()}
        self.lookups = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.lookups += 1
        answers = self._answers.get(host)
        if answers is None:
            return numeric(host, port)
        return answers.pop(0) if len(answers) > 1 else answers[0]


def numeric(host: str, port: int) -> Sequence[str]:
    """What the operating system makes of a spelling of an address, without asking any name server."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(answer[4][0]) for answer in answers]


def fetcher(*servers: Server, names: Names | None = None, total_s: float = 5.0, **options: object) -> Fetcher:
    """A fetcher in the small world that may use the ports of `servers`."""
    limits = FetchLimits(total_s=total_s, ports=frozenset(server.port for server in servers))
    resolver = names or Names({"pictures.example": [["127.0.0.1"]], "inner.example": [["127.0.0.2"]]})
    return Fetcher(public_is_127_0_0_1, resolver, limits, **options)  # type: ignore[arg-type]
