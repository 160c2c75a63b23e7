"""The end of a job is told to the address of its submission: signed, repeated, never to the inner network."""

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.exceptions import BadSignatureError

from tests.api.conftest import BODY, Twin, a_twin
from tests.intake.servers import Names, public_is_127_0_0_1
from tests.support.fake_backend import wait_for_stop
from tests.support.receiver import Delivered, Receiver, receiving, verify
from wan_core.api.webhook_signing import Signer
from wan_core.api.webhooks import WAITS_S, Delivery
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import BackendError, InputError
from wan_core.events import Event, Job, Stage
from wan_core.files import FileStore
from wan_core.intake import FetchLimits, Poster

QUICK = (0.01, 0.01, 0.01)
NAMES = {"inner.example": [["127.0.0.2"]], "hooks.example": [["127.0.0.1"]]}


def delivery_to(*ports: int, waits_s: tuple[float, ...] = QUICK) -> Delivery:
    """In a small world where 127.0.0.1 is public and 127.0.0.2 is not."""
    limits = FetchLimits(total_s=5, ports=frozenset(ports))
    return Delivery(Poster(public_is_127_0_0_1, Names({**NAMES}), limits), waits_s)


@contextmanager
def hooked_twin(data: FileStore, *statuses: int, **options: Any) -> Iterator[tuple[Twin, Receiver]]:
    with receiving(*statuses) as receiver, a_twin(data, delivery=delivery_to(receiver.port, **options)) as twin:
        yield twin, receiver


def submit(twin: Twin, url: str, **values: Any) -> str:
    answer = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", params={"fal_webhook": url}, json=BODY | values)
    assert answer.status_code == 200, answer.text
    assert answer.json()["gateway_request_id"] == answer.json()["request_id"]
    return str(answer.json()["request_id"])


def wait_until_none_waits(twin: Twin) -> None:
    deadline = time.monotonic() + 60
    while twin.house.jobs.webhooks.pending():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_finished_job_is_told_with_its_result_and_a_signature_that_others_verify(data: FileStore) -> None:
    with hooked_twin(data) as (twin, receiver):
        request_id = submit(twin, receiver.url)
        (told,) = receiver.wait_for(1)
        result = twin.http.get(f"/queue/fal-ai/wan/requests/{request_id}").json()
        ids = {"request_id": request_id, "gateway_request_id": request_id}
        assert told.json == ids | {"status": "OK", "payload": result}
        assert result["video"]["url"].startswith("http://127.0.0.1:7860/files/")
        assert told.path == "/hook?of=mine" and told.headers["content-type"] == "application/json"
        keys = twin.http.get("/.well-known/jwks.json").json()
        assert twin.http.get("/rest/.well-known/jwks.json").json() == keys
        verify(told, keys)
        assert abs(time.time() - int(told.headers["x-fal-webhook-timestamp"])) < 300
        with pytest.raises(BadSignatureError):
            verify(Delivered(told.path, told.headers, told.body + b" "), keys)
        wait_until_none_waits(twin)


def test_a_failed_job_is_told_with_the_body_of_its_error(data: FileStore) -> None:
    def script(job: Job, stop: threading.Event) -> Iterator[Event]:
        yield Stage("checking")
        raise InputError("prompt", "content_policy_violation", "The prompt was refused.")

    with hooked_twin(data) as (twin, receiver):
        twin.backend.scripts["bad"] = script
        request_id = submit(twin, receiver.url, prompt="bad")
        (told,) = receiver.wait_for(1)
        assert (told.json["status"], told.json["error"]) == ("ERROR", "Invalid status code: 422")
        assert told.json["payload"] == twin.http.get(f"/queue/fal-ai/wan/requests/{request_id}").json()
        assert told.json["payload"]["detail"][0]["loc"] == ["body", "prompt"]


def test_a_cancelled_job_is_told_too(data: FileStore) -> None:
    with hooked_twin(data) as (twin, receiver):
        twin.backend.scripts["endless"] = wait_for_stop
        request_id = submit(twin, receiver.url, prompt="endless")
        assert twin.http.put(f"/queue/fal-ai/wan/requests/{request_id}/cancel").status_code == 202
        (told,) = receiver.wait_for(1)
        assert (told.json["status"], told.json["payload"]["error_type"]) == ("ERROR", "client_cancelled")


def test_what_does_not_arrive_is_sent_again_word_for_word(data: FileStore) -> None:
    with hooked_twin(data, 500, 404, 204) as (twin, receiver):
        submit(twin, receiver.url)
        first, *others = receiver.wait_for(3)
        assert [each.body for each in others] == [first.body] * 2
        wait_until_none_waits(twin)
        assert len(receiver.delivered) == 3


def test_it_is_given_up_after_the_last_wait(data: FileStore) -> None:
    with hooked_twin(data, *[500] * 9) as (twin, receiver):
        submit(twin, receiver.url)
        receiver.wait_for(len(QUICK) + 1)
        wait_until_none_waits(twin)
        assert len(receiver.delivered) == len(QUICK) + 1


def test_the_attempts_spread_over_two_hours_with_growing_waits() -> None:
    assert len(WAITS_S) == 9 and list(WAITS_S) == sorted(WAITS_S)
    assert 7_000 <= sum(WAITS_S) <= 7_200


def test_a_redirect_is_not_followed_and_ends_it(data: FileStore) -> None:
    with hooked_twin(data, 307) as (twin, receiver):
        receiver.location = receiver.url.replace("hook", "elsewhere")
        submit(twin, receiver.url)
        receiver.wait_for(1)
        wait_until_none_waits(twin)
        assert [each.path for each in receiver.delivered] == ["/hook?of=mine"]


def test_nothing_is_sent_to_a_name_of_the_inner_network(data: FileStore) -> None:
    with hooked_twin(data) as (twin, receiver):
        submit(twin, receiver.url.replace("127.0.0.1", "inner.example"))
        wait_until_none_waits(twin)
        assert not receiver.delivered


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hook",
        "https://",
        "ftp://example.com/a",
        "http://127.0.0.2/a",
        "http://[::1]/a",
        "http://example.com:22/a",
        "http://user:pass@example.com/",
        f"https://example.com/{'a' * 2048}",
    ],
)
def test_an_address_that_no_webhook_may_have_is_refused_at_once_and_makes_no_job(data: FileStore, url: str) -> None:
    with a_twin(data, delivery=delivery_to(80, 443)) as twin:
        refusal = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", params={"fal_webhook": url}, json=BODY)
        assert refusal.status_code == 422
        (fault,) = refusal.json()["detail"]
        assert fault["loc"] == ["query", "fal_webhook"] and "public internet" in fault["msg"]
        assert not twin.house.store.ids()


def test_only_callers_with_a_key_have_webhooks_on_an_open_server(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAN_API_KEYS", "open,k1")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    with hooked_twin(data) as (twin, receiver):
        asked = {"params": {"fal_webhook": receiver.url}, "json": BODY}
        refusal = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", **asked)
        assert refusal.status_code == 422 and "key" in refusal.json()["message"]
        keyed = twin.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", **asked, headers={"authorization": "Key k1"})
        assert keyed.status_code == 200
        (told,) = receiver.wait_for(1)
        assert "k1" not in told.headers["x-fal-webhook-user-id"]


def test_a_synchronous_run_sends_none_and_says_so(twin: Twin) -> None:
    refusal = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}?fal_webhook=https://example.com", json=BODY)
    assert refusal.status_code == 422 and "queue" in refusal.json()["message"]


def test_what_waits_is_delivered_after_a_restart_and_only_then(data: FileStore) -> None:
    """Nobody listens at first; the next process finds the receiver."""
    with receiving() as receiver:
        port = receiver.port
    with a_twin(data, delivery=delivery_to(port, waits_s=(0.5,) * 1000)) as twin:
        request_id = twin.ended(submit(twin, receiver.url))
        while not twin.house.jobs.webhooks.pending()[0].attempts:
            time.sleep(0.005)
    with receiving(port=port) as receiver, a_twin(data, delivery=delivery_to(port)) as twin:
        (told,) = receiver.wait_for(1)
        assert told.json["request_id"] == request_id and told.json["status"] == "OK"
        verify(told, twin.http.get("/.well-known/jwks.json").json())
        wait_until_none_waits(twin)


def test_a_job_that_runs_again_after_a_restart_is_told_at_its_end(data: FileStore) -> None:
    with receiving() as receiver:
        delivery = delivery_to(receiver.port)
        with a_twin(data, delivery=delivery) as twin:
            twin.backend.scripts["held"] = wait_for_stop
            request_id = submit(twin, receiver.url, prompt="held")
        with a_twin(data, delivery=delivery) as twin:
            (told,) = receiver.wait_for(1)
            assert (told.json["request_id"], told.json["status"]) == (request_id, "OK")
            wait_until_none_waits(twin)


def test_the_signature_is_that_of_the_documented_message(tmp_path: Path) -> None:
    """A vector that was computed with other code, for a key of 32 bytes 7."""
    key, path = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32), tmp_path / "key.pem"
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(*pem))
    body = b'{"request_id":"r-1","gateway_request_id":"r-1","status":"OK","payload":{"seed":1}}'
    signer = Signer(path, lambda: 1_700_000_000)
    assert hashlib.sha256(body).hexdigest() == "4b437877412a9be13bdfaf34e3889ab69d7f65b259490295294378048251cbec"
    assert signer.headers("r-1", "u-1", body)["X-Fal-Webhook-Signature"] == (
        "833907103eb54a2d257f814cea7a28cb9123f40fbff72f31cc3e94c2907fe7dd"
        "101e98545ec35a19e9b1d21d73575fa2992479fe9a528ccafd4312761250b907"
    )
    (jwk,) = signer.jwks()["keys"]
    assert jwk["x"] == "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw=" and len(base64.urlsafe_b64decode(jwk["x"])) == 32


def test_the_key_stays_the_same_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    first = Signer(path).jwks()
    assert Signer(path).jwks() == first and path.stat().st_mode & 0o077 == 0
    path.write_bytes(b"no key")
    assert Signer(path).jwks() != first


def test_a_webhook_waits_while_its_key_can_be_neither_read_nor_made(data: FileStore) -> None:
    data.webhook_key.mkdir()
    with hooked_twin(data, waits_s=(0.01,) * 100_000) as (twin, receiver):
        submit(twin, receiver.url)
        while not twin.house.jobs.webhooks.pending()[0].attempts:
            time.sleep(0.005)
        assert not receiver.delivered
        data.webhook_key.rmdir()
        receiver.wait_for(1)
        wait_until_none_waits(twin)


def test_two_threads_that_need_the_first_key_get_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate, both = Ed25519PrivateKey.generate, threading.Barrier(2)

    def when_both_are_there() -> Ed25519PrivateKey:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)
        return generate()

    monkeypatch.setattr(Ed25519PrivateKey, "generate", when_both_are_there)
    signer = Signer(tmp_path / "key.pem")
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: signer.jwks(), range(2))
    assert first == second == Signer(tmp_path / "key.pem").jwks()


def test_an_accepted_job_is_answered_and_told_though_its_row_cannot_be_read_back(
    data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(query: str, *values: object) -> list[Any]:
        raise BackendError("storage_full", "The disk is full.")

    with hooked_twin(data) as (twin, receiver):
        monkeypatch.setattr(twin.house.store, "read", broken)
        request_id = submit(twin, receiver.url)
        assert receiver.wait_for(1)[0].json["request_id"] == request_id
