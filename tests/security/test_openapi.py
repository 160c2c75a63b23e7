"""The answers of the queue against its own OpenAPI document, for requests that follow it and requests that do not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from pydantic import TypeAdapter, ValidationError
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
READ_AS = {name: TypeAdapter(field.annotation) for name, field in IMAGE_TO_VIDEO.fields.items()}
NO_TEXT = [name for name, read_as in READ_AS.items() if "'string'" not in str(read_as.json_schema())]


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
        assume(not is_read_leniently(case.body) if mode is GenerationMode.NEGATIVE else has_prompt(case.body))
        case.call_and_validate(headers=KEY | HOST)

    check()


def has_prompt(body: Any) -> bool:
    """False for the one fault that the document cannot say: an empty prompt where none will be written."""
    return not isinstance(body, dict) or bool(body["prompt"].strip() or body.get("enable_prompt_expansion"))


def is_read_leniently(body: Any) -> bool:
    """Whether a string stands for a number or a switch, which pydantic reads as fal's models do: "33", "n"."""
    texts = {name: value for name, value in body.items() if isinstance(value, str)} if isinstance(body, dict) else {}
    return any(reads(name, text) for name, text in texts.items() if name in NO_TEXT)


def reads(name: str, value: object) -> bool:
    try:
        READ_AS[name].validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twin, Any]]:
    with documented_twin(FileStore(tmp_path_factory.mktemp("openapi") / "data")) as found:
        yield found


def test_strings_that_stand_for_numbers_and_switches_are_known() -> None:
    lenient = [{"enable_prompt_expansion": "n"}, {"num_frames": "33"}, {"shift": "5"}, {"seed": "7"}]
    assert all(map(is_read_leniently, lenient))
    strict = [{"prompt": "n"}, {"enable_prompt_expansion": "never"}, {"num_frames": ["33"]}, {"n": "n"}, "n", None]
    assert not any(map(is_read_leniently, strict))


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
