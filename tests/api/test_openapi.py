"""The published document says what the schema says, in fal's form."""

from typing import Any

import pytest

from tests.api.conftest import Twin, a_twin
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.files import FileStore

PATH = "/api/openapi/queue/openapi.json"


def document(twin: Twin) -> Any:
    return twin.http.get(PATH, params={"endpoint_id": IMAGE_TO_VIDEO.id}).json()


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if "$ref" in part else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_it_is_found_under_either_spelling_and_for_no_other_endpoint(shared_twin: Twin) -> None:
    assert document(shared_twin)["servers"] == [{"url": "http://127.0.0.1:7860/queue"}]
    capital = shared_twin.http.get(PATH, params={"endpoint_id": IMAGE_TO_VIDEO.id.replace("a14b", "a14B")})
    assert capital.json() == document(shared_twin)
    other = shared_twin.http.get(PATH, params={"endpoint_id": "fal-ai/flux"})
    assert other.status_code == 404 and IMAGE_TO_VIDEO.id in other.json()["detail"]


def test_fields_bounds_and_words_are_the_schemas(shared_twin: Twin) -> None:
    published = document(shared_twin)["components"]["schemas"]["ImageToVideoInput"]
    assert published["properties"] == IMAGE_TO_VIDEO.json_schema["properties"]
    assert published["x-fal-order-properties"] == list(IMAGE_TO_VIDEO.fields)
    assert published["required"] == ["image_url", "prompt"]


def test_a_key_is_asked_for_only_where_one_is_needed(
    shared_twin: Twin, data: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert document(shared_twin)["security"] == []
    monkeypatch.setenv("WAN_API_KEYS", "k1")
    with a_twin(data) as closed:
        assert document(closed)["security"] == [{"apiKeyAuth": []}]


def test_every_reference_leads_somewhere(shared_twin: Twin) -> None:
    published = document(shared_twin)
    names = {f"#/components/schemas/{name}" for name in published["components"]["schemas"]}
    assert references(published) <= names


def test_every_path_it_names_is_a_route(shared_twin: Twin) -> None:
    for path, operations in document(shared_twin)["paths"].items():
        for method in operations:
            answer = shared_twin.http.request(method, "/queue" + path.replace("{request_id}", "x"))
            assert answer.status_code in (404, 415) and "Path" not in answer.text
