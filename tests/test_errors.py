"""Errors cross a process border unchanged."""

import json

import pytest

from wan_core.errors import BackendError, Cancelled, InputError, WanError, from_plain, to_plain


@pytest.mark.parametrize(
    "error",
    [
        InputError("prompt", "string_too_long", "Too long.", {"max_length": 4000}),
        BackendError("too_many_jobs", "Wait.", retry_after_s=30),
        Cancelled(),
    ],
)
def test_an_error_comes_back_from_json_as_it_went_in(error: WanError) -> None:
    back = from_plain(json.loads(json.dumps(to_plain(error))))
    assert type(back) is type(error) and vars(back) == vars(error) and str(back) == error.message
