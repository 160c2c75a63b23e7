"""Redirects, bodies, deadlines and certificates, against servers on loopback."""

import asyncio
import gzip
import resource
import ssl
from io import BytesIO
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.intake.servers import Answer, Names, Server, answering, fetcher, redirecting, serving
from wan_core.errors import BackendError, InputError
from wan_core.intake import Fetcher


async def _body(server: Server, path: str = "/", max_bytes: int = 1_000, **options: object) -> bytes:
    into = BytesIO()
    fetch = fetcher(server, **options)  # type: ignore[arg-type]
    url = f"http://pictures.example:{server.port}{path}"
    assert await fetch.fetch(url, into, max_bytes=max_bytes) == len(into.getvalue())
    return into.getvalue()


def _fetched(answer: Answer, path: str = "/", **options: object) -> bytes:
    async def fetch() -> bytes:
        async with serving(answer) as server:
            return await _body(server, path, **options)  # type: ignore[arg-type]

    return asyncio.run(fetch())


def _refused(answer: Answer, path: str = "/", **options: object) -> InputError:
    with pytest.raises(InputError) as refused:
        _fetched(answer, path, **options)
    return refused.value


def test_the_body_arrives_byte_for_byte() -> None:
    body = bytes(range(256)) * 20_000
    assert _fetched(answering(body), max_bytes=len(body)) == body


def test_a_body_without_a_declared_length_arrives_too() -> None:
    assert _fetched(answering(b"until the end", "Connection: close")) == b"until the end"


def test_the_request_names_the_host_and_carries_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    async def request() -> str:
        async with serving(answering(b"x")) as server:
            await _body(server, "/a%20b?c=d#e")
            return server.requests[0].replace(str(server.port), "PORT")

    lines = asyncio.run(request()).splitlines()
    assert lines[:2] == ["GET /a%20b?c=d HTTP/1.1", "Host: pictures.example:PORT"]
    names = {line.split(":")[0].lower() for line in lines[1:] if line}
    assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert "Accept-Encoding: identity" in lines


def test_a_cookie_set_by_one_hop_is_not_sent_to_the_next() -> None:
    async def second_request() -> str:
        async def answer(path: str, writer: asyncio.StreamWriter) -> None:
            moved = answering(b"", "Location: /b", "Set-Cookie: a=b", "Content-Length: 0", status="302 Found")
            await (moved if path == "/" else answering(b"x"))(path, writer)

        async with serving(answer) as server:
            await _body(server)
            return server.requests[1]

    assert "cookie" not in asyncio.run(second_request()).lower()


@pytest.mark.parametrize("target", ["/b", "b", "//pictures.example:{port}/b", "http://pictures.example:{port}/b"])
def test_a_public_redirect_is_followed_relative_or_absolute(target: str) -> None:
    async def fetch() -> bytes:
        targets: dict[str, str] = {}
        async with serving(redirecting(targets)) as server:
            targets["/a"] = target.replace("{port}", str(server.port))
            return await _body(server, "/a")

    assert asyncio.run(fetch()) == b"at last"


def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    chain = {"/4": "/3", "/3": "/2", "/2": "/1", "/1": "/0"}
    assert _fetched(redirecting(chain), "/3") == b"at last"
    assert "more than 3 times" in _refused(redirecting(chain), "/4").message


def test_a_circle_of_redirects_ends() -> None:
    assert "more than 3 times" in _refused(redirecting({"/a": "/b", "/b": "/a"}), "/a").message


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{canary}/",
        "http://inner.example:{canary}/",
        "//127.0.0.2:{canary}/",
        "http://pictures.example:22/",
        "http://user:word@pictures.example:{port}/",
        "file:///etc/hostname",
        "ftp://pictures.example/",
        "data:text/plain,x",
        "http://[::1",
        "http://a..b/",
        "",
    ],
)
def test_a_redirect_to_anything_else_is_refused_and_nobody_inside_is_called(target: str) -> None:
    async def inner_connections() -> int:
        targets: dict[str, str] = {}
        async with serving(redirecting(targets)) as server, serving(answering(b"secret"), "127.0.0.2") as canary:
            targets["/a"] = target.replace("{port}", str(server.port)).replace("{canary}", str(canary.port))
            fetch = fetcher(server, canary)
            with pytest.raises(InputError) as refused:
                await fetch.fetch(f"http://pictures.example:{server.port}/a", BytesIO(), max_bytes=100)
            assert refused.value.type == "file_download_error"
            return canary.connections

    assert asyncio.run(inner_connections()) == 0


def test_a_name_that_changes_its_answer_is_used_as_it_was_checked() -> None:
    async def fetch() -> tuple[bytes, int]:
        async with serving(answering(b"public")) as server:
            async with serving(answering(b"secret"), "127.0.0.2", server.port) as canary:
                names = Names({"pictures.example": [["127.0.0.1"], ["127.0.0.2"]]})
                return await _body(server, names=names), canary.connections + names.lookups - 1

    assert asyncio.run(fetch()) == (b"public", 0)


def test_a_name_that_turns_inward_between_two_hops_is_refused() -> None:
    names = Names({"pictures.example": [["127.0.0.1"], ["127.0.0.2"]]})
    assert "public internet" in _refused(redirecting({"/a": "/b"}), "/a", names=names).message


def test_one_inner_address_among_the_answers_is_enough_to_refuse() -> None:
    names = Names({"pictures.example": [["127.0.0.1", "127.0.0.2"]]})
    assert "public internet" in _refused(answering(b"x"), names=names).message


def test_a_second_address_is_tried_where_the_first_takes_no_connection() -> None:
    async def fetch() -> bytes:
        async with serving(answering(b"x"), "127.0.0.2") as server:
            names = Names({"pictures.example": [["127.0.0.1", "127.0.0.2"]]})
            into = BytesIO()
            either = Fetcher(lambda address: True, names, fetcher(server).limits)
            await either.fetch(f"http://pictures.example:{server.port}/", into, max_bytes=1)
            return into.getvalue()

    assert asyncio.run(fetch()) == b"x"


def test_a_declared_length_above_the_limit_is_refused_before_the_body() -> None:
    refused = _refused(answering(b"", "Content-Length: 26000000"), max_bytes=25_000_000)
    assert (refused.type, refused.context) == ("file_too_large", {"max_size": 25_000_000})
    assert "25 MB" in refused.message


def test_an_undeclared_length_above_the_limit_is_refused_on_the_way() -> None:
    body = b"x" * 2_000_001
    assert _refused(answering(body, "Connection: close"), max_bytes=2_000_000).type == "file_too_large"
    assert _fetched(answering(body, "Connection: close"), max_bytes=2_000_001) == body


def test_a_compressed_body_is_refused_undecoded() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    refused = _refused(answering(bomb, "Content-Encoding: gzip", f"Content-Length: {len(bomb)}"), max_bytes=10**6)
    assert "compressed" in refused.message


def test_a_body_cut_short_is_refused() -> None:
    assert _refused(answering(b"half", "Content-Length: 8")).type == "file_download_error"


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "206 Partial Content", "204 No Content"])
def test_any_status_but_200_is_refused_and_named(status: str) -> None:
    assert status[:3] in _refused(answering(b"", status=status)).message


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_a_server_that_does_not_speak_http_is_an_ordinary_refusal(reply: bytes) -> None:
    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    assert _refused(answer).type == "file_download_error"


def test_one_deadline_ends_a_body_that_drips() -> None:
    async def drip(path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    assert "within 0.2 seconds" in _refused(drip, total_s=0.2).message


def test_the_deadline_holds_for_a_silent_server_and_a_silent_name_server() -> None:
    async def silence(*_: object) -> list[str]:
        await asyncio.Event().wait()
        return []

    assert "within 0.3 seconds" in _refused(silence, total_s=0.3).message  # type: ignore[arg-type]
    assert "within 0.3 seconds" in _refused(answering(b"x"), names=silence, total_s=0.3).message


def test_a_closed_port_is_an_ordinary_refusal() -> None:
    async def fetch() -> None:
        async with serving(answering(b"x")) as server:
            pass
        await _body(server)

    with pytest.raises(InputError) as refused:
        asyncio.run(fetch())
    assert refused.value.type == "file_download_error"


def test_only_the_named_hosts_and_their_subdomains_are_fetched_from() -> None:
    names = Names({name: [["127.0.0.1"]] for name in ("fal.media", "v3.fal.media", "evilfal.media")})

    async def outcome(host: str) -> str:
        async with serving(answering(b"clip")) as server:
            fetch = fetcher(server, names=names, hosts=["fal.media"])
            into = BytesIO()
            try:
                await fetch.fetch(f"http://{host}:{server.port}/", into, max_bytes=9)
            except InputError as refused:
                return refused.message
            return into.getvalue().decode()

    assert asyncio.run(outcome("fal.media")) == asyncio.run(outcome("v3.fal.media")) == "clip"
    assert "fal.media only" in asyncio.run(outcome("evilfal.media"))


def _tls(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for `name`, and a client's that trusts its authority."""
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(ours)
    authority.issue_cert(name).configure_cert(theirs)
    return theirs, ours


@pytest.mark.parametrize(("name", "accepted"), [("pictures.example", True), ("other.example", False)])
def test_the_certificate_must_name_the_host_although_the_connection_goes_to_an_address(
    name: str, accepted: bool
) -> None:
    theirs, ours = _tls(name)

    async def outcome() -> bool:
        async with serving(answering(b"x"), tls=theirs) as server:
            fetch = fetcher(server, tls=ours)
            try:
                await fetch.fetch(f"https://pictures.example:{server.port}/", BytesIO(), max_bytes=1)
            except InputError:
                return False
            return True

    assert asyncio.run(outcome()) is accepted


def test_a_certificate_of_an_unknown_authority_is_refused() -> None:
    theirs, _ = _tls("pictures.example")

    async def fetch() -> None:
        async with serving(answering(b"x"), tls=theirs) as server:
            await fetcher(server).fetch(f"https://pictures.example:{server.port}/", BytesIO(), max_bytes=1)

    with pytest.raises(InputError) as refused:
        asyncio.run(fetch())
    assert refused.value.type == "file_download_error"


def _fetched_to(target: Path, answer: Answer, max_bytes: int = 1_000) -> int:
    async def fetch() -> int:
        async with serving(answer) as server:
            return await fetcher(server).fetch_to(
                f"http://pictures.example:{server.port}/clip.mp4", target, max_bytes=max_bytes
            )

    return asyncio.run(fetch())


def test_a_clip_appears_whole_under_its_name(tmp_path: Path) -> None:
    assert _fetched_to(tmp_path / "clip.mp4", answering(b"clip")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == b"clip"


def test_a_clip_that_breaks_off_leaves_no_file_and_the_old_one_untouched(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"old")
    with pytest.raises(InputError) as refused:
        _fetched_to(tmp_path / "clip.mp4", answering(b"half", "Content-Length: 8"))
    assert refused.value.field == "video"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_clip_above_its_limit_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        _fetched_to(tmp_path / "clip.mp4", answering(b"x" * 9, "Connection: close"), max_bytes=8)
    assert list(tmp_path.iterdir()) == []


def test_a_visitor_who_leaves_takes_the_unfinished_file_along(tmp_path: Path) -> None:
    async def leave() -> None:
        async with serving(answering(b"half", "Content-Length: 8"), "127.0.0.1") as server:
            url = f"http://pictures.example:{server.port}/"
            task = asyncio.create_task(fetcher(server).fetch_to(url, tmp_path / "clip.mp4", max_bytes=9))
            while not list(tmp_path.iterdir()):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_does_not_fit_on_the_disk_leaves_no_file_and_is_this_servers_fault(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(BackendError) as failed:
            _fetched_to(tmp_path / "clip.mp4", answering(bytes(300_000)), max_bytes=300_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.type == "storage_full"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_this_servers_fault_and_said_so() -> None:
    async def fetch() -> None:
        async with serving(answering(b"x")) as server:
            with Path("/dev/full").open("wb", buffering=0) as full:
                await fetcher(server).fetch(f"http://pictures.example:{server.port}/", full, max_bytes=1)

    with pytest.raises(BackendError) as failed:
        asyncio.run(fetch())
    assert failed.value.type == "storage_full"


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.text().map("http://".__add__), st.text().map("https://[".__add__)))
def test_whatever_is_typed_as_an_address_the_answer_is_an_ordinary_refusal(url: str) -> None:
    fetch = Fetcher(lambda address: False, Names({}))
    with pytest.raises(InputError):
        asyncio.run(fetch.fetch(url, BytesIO(), max_bytes=1))
