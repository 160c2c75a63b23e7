"""A direct call of Gradio's that its caller can mend is no fault of the server."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from wan_core.api.page_statuses import CallerFaults
from wan_core.errors import UNEXPECTED


def status(path: str, error: str, code: int = 500) -> int:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse({"error": error}, code)

    app = Starlette(routes=[Route("/{path:path}", answer)], middleware=[Middleware(CallerFaults)])
    answered = TestClient(app).get(path)
    assert answered.json() == {"error": error}
    return answered.status_code


@pytest.mark.parametrize("path", ["/gradio_api/run/predict", "/gradio_api/api/predict"])
def test_a_fault_of_the_caller_is_422_and_one_of_the_server_500(path: str) -> None:
    assert status(path, "num_frames must be a whole number from 17 to 121.") == 422
    assert status(path, UNEXPECTED) == 500
    assert status(path, "fine", 200) == 200


def test_other_routes_keep_their_status() -> None:
    assert status("/gradio_api/queue/join", "broken") == 500
