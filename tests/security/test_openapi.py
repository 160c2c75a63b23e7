"""The answers of the queue against its own OpenAPI document, for requests that follow it and requests that do not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import GenerationMode

from tests.api.conftest import Twin, a_twin
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.files import FileStore

pytestmark = [pytest.mark.security, pytest.mark.timeout(900)]

DOCUMENT = f"/api/openapi/queue/openapi.json?endpoint_id={IMAGE_TO_VIDEO.id}"
HOST = {"host": "127.0.0.1"}
KEY = {"Authorization": "Key one"}
JOB = f"/{IMAGE_TO_VIDEO.id}/requests/{{request_id}}"
OF_A_JOB = [("GET", JOB), ("GET", f"{JOB}/status"), ("PUT", f"{JOB}/cancel")]
OPERATIONS = [("POST", f"/{IMAGE_TO_VIDEO.id}"), *OF_A_JOB]
CASES = 500


@contextmanager
def documented_twin(data: FileStore) -> Iterator[tuple[Twin, Any]]:
    """A twin that takes one key, and what its document says."""
    data.root.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as host:
        host.setenv("WAN_API_KEYS", "one")
        with a_twin(data) as twin:
            twin.http.headers.update(KEY)
            yield twin, schemathesis.openapi.from_asgi(DOCUMENT, twin.http.app, headers=HOST)


def check_operation(schema: Any, method: str, path: str, mode: GenerationMode, cases: int) -> None:
    """Send `cases` requests and hold each answer against the document, with all checks there are."""
    operation = schema[path][method]

    @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        assume(mode is GenerationMode.NEGATIVE or has_prompt(case.body))
        case.call_and_validate(headers=KEY | HOST)

    check()


def has_prompt(body: Any) -> bool:
    """False for the one fault that the document cannot say: an empty prompt where none will be written."""
    return not isinstance(body, dict) or bool(body["prompt"].strip() or body.get("enable_prompt_expansion"))


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twin, Any]]:
    with documented_twin(FileStore(tmp_path_factory.mktemp("openapi") / "data")) as found:
        yield found


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_follow_the_document(
    documented: tuple[Twin, Any], method: str, path: str, mode: GenerationMode
) -> None:
    _, schema = documented
    check_operation(schema, method, path, mode, CASES)


@pytest.mark.parametrize(("method", "path"), OF_A_JOB)
def test_answers_about_a_job_that_is_there_follow_the_document(
    documented: tuple[Twin, Any], method: str, path: str
) -> None:
    twin, schema = documented
    for request_id in (twin.submit(), twin.ended(twin.submit())):
        case = schema[path][method].Case(path_parameters={"request_id": request_id})
        assert case.call_and_validate(headers=KEY | HOST).status_code in (200, 202, 400)


def test_the_document_has_no_other_operations(documented: tuple[Twin, Any]) -> None:
    _, schema = documented
    assert {(found.ok().method.upper(), found.ok().path) for found in schema.get_all_operations()} == set(OPERATIONS)
