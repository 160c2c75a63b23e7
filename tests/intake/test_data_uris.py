import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_core.intake.data_uris import data_uri_bytes, is_data_uri
from wan_core.intake.refusals import Refused


def _refused(source: str, max_bytes: int = 1_000) -> Refused:
    with pytest.raises(Refused) as refused:
        data_uri_bytes(source, max_bytes)
    return refused.value


@given(st.binary(max_size=300), st.sampled_from(["data:image/png", "data:image/jpeg", "DATA:IMAGE/WEBP"]))
def test_the_bytes_come_back_as_they_went_in(content: bytes, head: str) -> None:
    source = f"{head};base64,{base64.b64encode(content).decode()}"
    assert is_data_uri(source)
    assert data_uri_bytes(source, 300) == content


@pytest.mark.parametrize(
    "head",
    [
        "data:,",
        "data:;base64,",
        "data:text/html;base64,",
        "data:image/svg+xml;base64,",
        "data:image/gif;base64,",
        "data:image/jpg;base64,",
        "data:image/png,",
        "data:image/png;charset=utf-8;base64,",
        "data:image/png;base64;base64,",
        "data:image/png ;base64,",
        "data:image/ⓟng;base64,",
        "data://image/png;base64,",
    ],
)
def test_only_three_media_types_in_base64_are_taken(head: str) -> None:
    refused = _refused(head + "AAAA")
    assert refused.type == "unsupported_image_format"
    assert refused.context == {"supported_formats": ["image/jpeg", "image/png", "image/webp"]}


@pytest.mark.parametrize(
    "payload", ["A", "AA", "AAA", "AAAA=", "AA==AA==", "AA AA", "AA\nAA", "AA-_", "A%3D", "ÄÖÜß", "="]
)
def test_base64_must_be_exact(payload: str) -> None:
    assert _refused("data:image/png;base64," + payload).type == "image_load_error"


def test_the_limit_is_exact_and_holds_before_decoding() -> None:
    head = "data:image/png;base64,"
    for length in (998, 999, 1_000):
        assert len(data_uri_bytes(head + base64.b64encode(bytes(length)).decode(), 1_000)) == length
    assert _refused(head + base64.b64encode(bytes(1_001)).decode()).context == {"max_size": 1_000}
    assert _refused(head + "?" * 100_000).type == "file_too_large"


@given(st.text())
def test_any_other_text_is_refused_in_our_words(text: str) -> None:
    assert _refused("data:" + text).message
