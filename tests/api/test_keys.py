"""Who may come in: keys, the open word, this machine alone; and whose limits a request counts against."""

from typing import Any

import pytest
from pydantic import SecretStr

from tests.api.conftest import BODY, Twin, a_twin
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.files import FileStore
from wan_core.jobs.limits import Client, client_of
from wan_core.settings import Settings

JOB = "/queue/fal-ai/wan/requests/00000000-0000-4000-8000-000000000000"
GUARDED = [
    ("POST", f"/run/{IMAGE_TO_VIDEO.id}"),
    ("POST", f"/queue/{IMAGE_TO_VIDEO.id}"),
    ("GET", JOB),
    ("GET", f"{JOB}/status"),
    ("GET", f"{JOB}/status/stream"),
    ("PUT", f"{JOB}/cancel"),
    ("POST", "/rest/storage/auth/token"),
    ("POST", "/rest/storage/upload/initiate"),
    ("POST", "/rest/storage/upload/initiate-multipart"),
    ("POST", "/cdn/files/upload"),
    ("POST", "/cdn/files/upload/multipart"),
    ("POST", "/jobs/00000000-0000-4000-8000-000000000000/finish"),
]


def ask(twin: Twin, method: str, path: str, authorization: str | None = None) -> Any:
    headers = {} if authorization is None else {"authorization": authorization.encode()}
    json = BODY if method == "POST" else None
    return twin.http.request(method, path, json=json, headers=headers)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_with_keys_every_route_of_the_api_asks_for_one(
    data: FileStore, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    monkeypatch.setenv("WAN_API_KEYS", "id:secret, other")
    with a_twin(data) as twin:
        for wrong in (None, "Key", "Key ", "Key nope", "Key id:secre", "id:secret", "Basic id:secret", "Key é"):
            answer = ask(twin, method, path, wrong)
            assert answer.status_code == 401 and "WAN_API_KEYS" in answer.json()["detail"]
            assert answer.headers["www-authenticate"] == "Key" and "secret" not in answer.text
        for right in ("Key id:secret", "key other", "Bearer id:secret", "Key  id:secret"):
            assert ask(twin, method, path, right).status_code != 401


def test_files_and_the_document_need_no_key(data: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_API_KEYS", "k")
    with a_twin(data) as twin:
        answer = ask(twin, "POST", f"/run/{IMAGE_TO_VIDEO.id}", "Key k").json()
        assert twin.http.get(answer["video"]["url"]).status_code == 200
        assert twin.http.get("/api/openapi/queue/openapi.json").status_code == 200


@pytest.mark.parametrize(("server", "space"), [("0.0.0.0", ""), ("192.168.0.2", ""), ("127.0.0.1", "me/wan")])
def test_without_keys_a_server_others_can_reach_is_closed(
    data: FileStore, monkeypatch: pytest.MonkeyPatch, server: str, space: str
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_NAME", server)
    monkeypatch.setenv("SPACE_ID", space)
    with a_twin(data) as twin:
        answer = ask(twin, "POST", f"/run/{IMAGE_TO_VIDEO.id}", "Key any")
        assert answer.status_code == 401 and "WAN_API_KEYS" in answer.json()["detail"]


def test_without_keys_a_loopback_server_is_open_to_this_machine_only(data: FileStore) -> None:
    with a_twin(data) as twin:
        assert ask(twin, "POST", f"/run/{IMAGE_TO_VIDEO.id}").status_code == 200
        assert ask(twin, "POST", f"/run/{IMAGE_TO_VIDEO.id}", "Key whatever").status_code == 200
        for name in ("wan.example.com", "rebound.example.com:7860"):
            answer = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY, headers={"host": name})
            assert answer.status_code == 403, "a name from outside was typed: somebody forwards it"


def test_the_word_open_opens_knowingly(data: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_API_KEYS", "open")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    with a_twin(data, home="http://wan.example.com") as twin:
        assert ask(twin, "POST", f"/run/{IMAGE_TO_VIDEO.id}").status_code == 200


def client_of_last_job(twin: Twin, **headers: str) -> str:
    answer = twin.http.post(f"/run/{IMAGE_TO_VIDEO.id}", json=BODY, headers=headers)
    record = twin.house.jobs.get(answer.headers["x-fal-request-id"])
    assert record is not None
    return record.client


def test_a_known_key_is_a_client_and_an_invented_one_is_not(data: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_API_KEYS", "mine open")
    with a_twin(data) as twin:
        mine = client_of_last_job(twin, authorization="Key mine")
        assert mine == Client.by_key("mine").id and "mine" not in mine
        invented = {client_of_last_job(twin, authorization=f"Key {n}") for n in range(3)}
        assert invented == {Client.by_address("testclient").id}


def settings(space: str | None = None) -> Settings:
    return Settings(SPACE_ID=space, api_keys=SecretStr("open"))  # type: ignore[call-arg]


def test_an_address_is_the_sockets_and_on_a_space_the_last_hop() -> None:
    forwarded = {"X-Forwarded-For": "6.6.6.6, 1.2.3.4"}
    assert client_of(forwarded, "9.9.9.9", settings()) == Client.by_address("9.9.9.9")
    assert client_of(forwarded, "9.9.9.9", settings("me/wan")) == Client.by_address("1.2.3.4")
    assert client_of({}, "9.9.9.9", settings("me/wan")) == Client.by_address("9.9.9.9")
    assert client_of({}, None, settings()) == Client.by_address("unknown")


def test_one_ipv6_network_is_one_client() -> None:
    one, same, other = (client_of({}, f"2a00:1:2:{n}::{n}", settings()) for n in ("3", "3", "4"))
    assert one == same != other
    assert client_of({}, "2a00:1:2:3::ffff", settings()) == one
    assert client_of({}, "::ffff:1.2.3.4", settings()) == Client.by_address("1.2.3.4")
