"""A desk with a scripted backend behind the real routes, asked in process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.support.fake_backend import FakeBackend
from tests.support.jobs import NO_FLOOR, OPTIONS, House, a_house
from wan_core import api
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.files import FileStore
from wan_core.settings import Limits, Settings

BODY = {"image_url": "https://example.com/a.png", "prompt": "a walk"}
HOME = "http://127.0.0.1:7860"


class HostSettings(Settings):
    """The environment's settings without the floor of free disk, which a test machine may not have."""

    @property
    def limits(self) -> Limits:  # type: ignore[override]
        return NO_FLOOR


@dataclass
class Twin:
    """A running twin of fal's endpoint. `http` asks it; `house` is what stands behind the routes."""

    http: TestClient
    house: House
    api: api.Api

    @property
    def backend(self) -> FakeBackend:
        backend = self.house.backend
        assert isinstance(backend, FakeBackend)
        return backend

    def submit(self, **values: Any) -> str:
        """The id of a new request in the queue."""
        answer = self.http.post(f"/queue/{IMAGE_TO_VIDEO.id}", json=BODY | values)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["request_id"])

    def ended(self, request_id: str) -> str:
        """The same id, once its job is over."""
        record = self.house.jobs.get(request_id)
        assert record is not None
        self.house.outcome(record)
        return request_id


@contextmanager
def a_twin(data: FileStore, home: str = HOME, **wiring: Any) -> Iterator[Twin]:
    settings = HostSettings(data_dir=data.root)
    with a_house(data, per_client=not settings.listens_on_loopback) as house:
        built = api.build(house.jobs, settings, OPTIONS, **wiring)
        app = Starlette(routes=built.routes, middleware=built.middleware)
        built.webhooks.start()
        try:
            with TestClient(app, base_url=home) as http:
                yield Twin(http, house, built)
        finally:
            built.webhooks.close()


@pytest.fixture(scope="module")
def shared_twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    """For tests that leave nothing behind but finished jobs."""
    data = FileStore(tmp_path_factory.mktemp("twin") / "data")
    data.root.mkdir()
    with a_twin(data) as running:
        yield running


@pytest.fixture
def twin(data: FileStore) -> Iterator[Twin]:
    with a_twin(data) as running:
        yield running
