"""Places are taken before anything is read: a crowd is refused at once, and never more are accepted than fit."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.fake_backend import FakeBackend, wait_for_stop
from tests.support.jobs import NO_FLOOR, OPTIONS, House, a_house, a_request, grey_picture
from wan_core.errors import BackendError
from wan_core.files import FileStore
from wan_core.jobs.limits import Client
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import Submission

LIMITS = replace(NO_FLOOR, waiting_jobs=5)


def crowd(house: House, clients: list[str], prompt: str = "a walk") -> list[JobRecord | BaseException]:
    """Everybody submits at once; the answers in the same order."""

    async def all_at_once() -> list[JobRecord | BaseException]:
        asked = [house.jobs.submit(Submission(a_request(prompt=prompt), OPTIONS), Client.by_key(c)) for c in clients]
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(all_at_once())


@pytest.mark.parametrize(("clients", "per_client", "accepted"), [("a" * 40, True, 2), ("abcdefghij" * 4, False, 5)])
def test_a_burst_is_refused_before_any_picture_of_it_is_read(
    data: FileStore, clients: str, per_client: bool, accepted: int
) -> None:
    reads: list[str | Path] = []

    async def slowly(source: str | Path, use: Callable[[Image.Image], Any]) -> Any:
        reads.append(source)
        await asyncio.sleep(0.05)
        return await grey_picture(source, use)

    backend = FakeBackend(data)
    backend.scripts["long"] = wait_for_stop
    with a_house(data, backend, LIMITS, slowly, per_client=per_client) as house:
        answers = crowd(house, list(clients), "long")
        refused = [answer for answer in answers if isinstance(answer, BackendError)]
        assert {answer.type for answer in refused} == {"too_many_jobs"} and all(a.retry_after_s for a in refused)
        assert len(answers) - len(refused) == len(reads) == accepted


def test_a_place_is_free_again_once_its_holder_is_gone(data: FileStore) -> None:
    with a_house(data, limits=replace(NO_FLOOR, waiting_jobs=1)) as house:
        someone, another = Client.by_key("a"), Client.by_key("b")
        with house.jobs.reserve(someone):
            with pytest.raises(BackendError, match="1 jobs are waiting already"):
                with house.jobs.reserve(another):
                    pass
        with house.jobs.reserve(another):
            pass


def test_a_job_and_its_place_are_not_counted_twice(data: FileStore) -> None:
    backend = FakeBackend(data)
    backend.scripts["long"] = wait_for_stop
    with a_house(data, backend, replace(NO_FLOOR, waiting_jobs=2)) as house:
        house.wait_until_running(house.submit(prompt="long"))
        client = Client.by_key("a")
        with house.jobs.reserve(client) as place:
            asked = Submission(a_request(prompt="long"), OPTIONS)
            asyncio.run(house.jobs.submit(asked, client, place=place))
            with house.jobs.reserve(client):
                pass
