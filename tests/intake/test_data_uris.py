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


CONTENT = bytes(range(256)) + b"\xff\xfe"
BASE64 = base64.b64encode(CONTENT).decode()


@pytest.mark.parametrize(
    "head",
    [
        "data:;base64,",
        "data:text/html;base64,",
        "data:image/jpg;base64,",
        "data:application/octet-stream;base64,",
        "data:image/png;charset=utf-8;base64,",
        "data:image/png;name=a b.png;base64,",
        "data:image/png ;  BASE64 ,",
        "data:image/png;base64;base64,",
        "data:image/ⓟng;base64,",
        "data://image/png;base64,",
    ],
)
def test_the_label_does_not_matter(head: str) -> None:
    assert data_uri_bytes(head + BASE64, 1_000) == CONTENT


@pytest.mark.parametrize(
    "payload",
    [
        "\n".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)),
        "\r\n\t".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)),
        "%0A".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)),
        " ".join(BASE64),
        "\f" + BASE64,
        base64.b64encode(CONTENT + b"!!").decode()[:-3] + "w",
        BASE64.replace("+", "%2B").replace("/", "%2f"),
        BASE64 + "#fragment",
    ],
)
def test_base64_is_read_as_browsers_read_it(payload: str) -> None:
    assert data_uri_bytes("data:image/png;base64," + payload, 1_000)[: len(CONTENT)] == CONTENT


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_padding_may_be_missing(length: int) -> None:
    encoded = base64.b64encode(CONTENT[:length]).decode().rstrip("=")
    assert data_uri_bytes("data:image/png;base64," + encoded, 1_000) == CONTENT[:length]


def test_percent_encoding_is_read_where_base64_is_not_said() -> None:
    escaped = "".join(f"%{value:02x}" for value in CONTENT)
    assert data_uri_bytes("data:image/png," + escaped, 1_000) == CONTENT
    assert data_uri_bytes("data:base64," + BASE64, 1_000) == BASE64.encode()


@pytest.mark.parametrize(
    "payload", ["A", "AAA==", "AAAA=", "AA==AA==", "AA-_", "A%3D", "ÄÖÜß", "=", "AA\x0bAA", "AA\xa0AA"]
)
def test_what_browsers_do_not_read_as_base64_is_refused(payload: str) -> None:
    assert _refused("data:image/png;base64," + payload).type == "image_load_error"


def test_the_limit_is_exact_and_holds_before_decoding() -> None:
    head = "data:image/png;base64,"
    for length in (998, 999, 1_000):
        assert len(data_uri_bytes(head + base64.b64encode(bytes(length)).decode(), 1_000)) == length
    assert _refused(head + base64.b64encode(bytes(1_001)).decode()).context == {"max_size": 1_000}
    assert _refused(head + "?" * 100_000).type == "file_too_large"


@given(st.text())
def test_any_text_is_read_or_refused_in_our_words(text: str) -> None:
    try:
        assert isinstance(data_uri_bytes("data:" + text, 1_000), bytes)
    except Refused as refused:
        assert refused.message


@pytest.mark.parametrize("source", ["data:", "data:image/png;base64", "data:,\ud800"])
def test_what_is_no_data_uri_is_refused(source: str) -> None:
    assert _refused(source).type == "image_load_error"
