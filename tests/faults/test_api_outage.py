"""The server is killed with accepted requests in it and started again; the clients that ask for them notice nothing."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import fal_client.client
import httpx
import pytest

from tests.clients.conftest import twin_process
from tests.support.receiver import receiving, verify
from wan_core.endpoints import IMAGE_TO_VIDEO

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

INPUT = {"image_url": "https://example.com/a.jpg", "prompt": "a walk", "seed": 7}
OUTAGE_S = 12


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def killed_later(data: Path, port: int, *options: str) -> Iterator[str]:
    """A twin that is killed as soon as the block ends."""
    with twin_process(data, "--port", str(port), "--step", "1.5", *options) as (home, process):
        yield home
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def client(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """fal's own client on that port."""
    home = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(fal_client.client, "RUN_URL_FORMAT", f"{home}/run/")
    monkeypatch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{home}/queue/")
    own = fal_client.client.SyncClient(key="id:secret")
    yield own
    own._client.close()


def test_accepted_requests_survive_a_kill_and_their_pollers_do_not_notice(
    tmp_path: Path, port: int, client: Any
) -> None:
    results: dict[int, Any] = {}
    with killed_later(tmp_path, port):
        handles = [client.submit(IMAGE_TO_VIDEO.id, arguments=INPUT | {"seed": seed}) for seed in range(3)]
        waiting = [
            threading.Thread(target=lambda n=n: results.update({n: handles[n].get()}), daemon=True) for n in range(3)
        ]
        for thread in waiting:
            thread.start()
        time.sleep(1)
    time.sleep(OUTAGE_S)
    with twin_process(tmp_path, "--port", str(port)) as (home, _):
        for thread in waiting:
            thread.join(timeout=300)
        assert {seed: result["seed"] for seed, result in results.items()} == {0: 0, 1: 1, 2: 2}
        for handle in handles:
            assert client.result(IMAGE_TO_VIDEO.id, handle.request_id)["video"]["url"].startswith(home)


def test_what_was_uploaded_and_finished_is_still_there_after_a_kill(tmp_path: Path, port: int, client: Any) -> None:
    with killed_later(tmp_path, port) as home:
        places = httpx.post(f"{home}/rest/storage/upload/initiate", json={"content_type": "image/png"}).json()
        assert httpx.put(places["upload_url"], content=b"a picture").status_code == 200
        handle = client.submit(IMAGE_TO_VIDEO.id, arguments=INPUT)
        result = handle.get()
    with twin_process(tmp_path, "--port", str(port)):
        assert httpx.get(places["file_url"]).content == b"a picture"
        assert handle.get() == result and httpx.get(result["video"]["url"]).status_code == 200


def test_a_deadline_to_begin_holds_across_a_kill(tmp_path: Path, port: int, client: Any) -> None:
    with killed_later(tmp_path, port):
        client.submit(IMAGE_TO_VIDEO.id, arguments=INPUT | {"prompt": "slowly"})
        late = client.submit(IMAGE_TO_VIDEO.id, arguments=INPUT, start_timeout=1.5)
    time.sleep(1.5)
    with twin_process(tmp_path, "--port", str(port)):
        with pytest.raises(fal_client.client.FalClientHTTPError) as expired:
            late.get()
    assert expired.value.status_code == 504 and expired.value.error_type == "request_timeout"


def test_a_slow_body_holds_up_nobody_else(tmp_path: Path) -> None:
    """Forty senders that have begun a request and say no more."""
    with twin_process(tmp_path) as (home, _):
        address = ("127.0.0.1", int(home.rpartition(":")[2]))
        start = f"POST /queue/{IMAGE_TO_VIDEO.id} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        senders = [socket.create_connection(address) for _ in range(40)]
        for sender in senders:
            sender.sendall(f"{start}content-length: 30000000\r\n\r\n{{".encode())
        assert httpx.post(f"{home}/run/{IMAGE_TO_VIDEO.id}", json=INPUT, timeout=300).status_code == 200
        for sender in senders:
            sender.setblocking(False)
            with closing(sender), pytest.raises(BlockingIOError):
                sender.recv(1)  # not even refused yet: that comes 30 s after its beginning


def test_no_webhook_is_lost_by_a_kill(tmp_path: Path, port: int, client: Any) -> None:
    """The first is repeated to a receiver that fails, the second runs, the third waits."""
    with receiving(*[500] * 10_000) as receiver:
        to = ("--receiver", str(receiver.port))
        with killed_later(tmp_path, port, *to):
            submitted = [
                client.submit(IMAGE_TO_VIDEO.id, arguments=INPUT | {"seed": seed}, webhook_url=receiver.url)
                for seed in range(3)
            ]
            receiver.wait_for(2)
        receiver.statuses.clear()
        before = len(receiver.delivered)
        with twin_process(tmp_path, "--port", str(port), *to) as (home, _):
            told = receiver.wait_for(before + 3)[before:]
            keys = httpx.get(f"{home}/.well-known/jwks.json").json()
    ids = [handle.request_id for handle in submitted]
    assert sorted(each.json["request_id"] for each in told) == sorted(ids)
    for each in told:
        verify(each, keys)
        assert each.json["status"] == "OK" and each.json["payload"]["seed"] == ids.index(each.json["request_id"])
