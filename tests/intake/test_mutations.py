import asyncio

from PIL import Image

from tests.intake.mutations import damaged_pictures
from tests.intake.pictures import decoded, on_disk
from wan_core.intake.refusals import Refused


def test_a_damaged_picture_is_read_or_refused_and_nothing_else_happens() -> None:
    async def outcomes() -> list[Image.Image | BaseException]:
        files = [on_disk(content) for content in damaged_pictures(25, seed=1)]
        return await asyncio.gather(*(decoded(file) for file in files), return_exceptions=True)

    results = asyncio.run(outcomes())
    assert {type(result) for result in results} == {Image.Image, Refused}
    assert all(result.mode == "RGB" for result in results if isinstance(result, Image.Image))
