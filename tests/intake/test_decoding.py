"""The processes that decode outlive a picture, and no picture outlives its child."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from tests.intake.pictures import encoded, gate, itself, on_disk, photo, pixels
from wan_core.intake import decoding, images
from wan_core.intake.decoder import PICTURE_LIMITS
from wan_core.intake.refusals import Refused


@pytest.fixture(autouse=True)
def no_idle_process() -> Iterator[None]:
    decoding._close_idle()
    yield
    decoding._close_idle()


def idle() -> list[int]:
    return [process._process.pid for process in decoding._idle]


def test_one_process_serves_picture_after_picture_in_a_child_for_each() -> None:
    gate(encoded(photo()))
    (first,) = idle()
    assert np.array_equal(pixels(gate(encoded(photo(64, 40)))), pixels(photo(64, 40)))
    with pytest.raises(Refused):
        gate(b"\x89PNG\r\n\x1a\n" + bytes(200))
    gate(encoded(photo(), "WEBP"))
    assert idle() == [first]


def test_a_picture_is_decoded_although_the_idle_process_was_killed() -> None:
    gate(encoded(photo()))
    (first,) = idle()
    os.kill(first, signal.SIGKILL)
    assert np.array_equal(pixels(gate(encoded(photo()))), pixels(photo()))
    assert idle() != [first]


def test_a_picture_that_takes_too_long_is_given_up_and_the_next_one_decoded() -> None:
    gate(encoded(photo()))
    (first,) = idle()
    with on_disk(encoded(photo(2000, 2000))) as file, pytest.raises(Refused, match="too long"):
        images.decode_now(file, itself, replace(PICTURE_LIMITS, wall_s=0.001))
    assert gate(encoded(photo())).size == photo().size
    assert idle() == [first]
