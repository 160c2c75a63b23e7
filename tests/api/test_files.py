"""Clips by their id, with ranges; and nothing else of the disk."""

import pytest

from tests.api.conftest import Twin

ID = "0f2ac0b2-5a0b-4ab4-9f0b-6f6f2f5e9f11"
ELSEWHERE = [
    "../jobs.db",
    "..%2fjobs.db",
    "..%2Fjobs.db",
    "%2e%2e/jobs.db",
    "%2e%2e%2fjobs.db",
    "..%252fjobs.db",
    "..%5cjobs.db",
    "....//jobs.db",
    "./../jobs.db",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "..%c0%af..%c0%afetc/passwd",
    "file:///etc/passwd",
    "C:%5cwindows%5cwin.ini",
    "jobs.db",
    ".",
    "..",
    "%00",
    f"{ID}.mp4%00.png",
    f"{ID}%00.mp4",
    f"{ID}.mp4%0a",
    f"%0a{ID}.mp4",
    f"{ID}.mp4/../../jobs.db",
    f"{ID}.mp4..%2f..%2fjobs.db",
    f"{ID}.png",
    f"{ID}.npy",
    f"{ID}.mp4.part",
    f".{ID}.mp4",
    f"{ID.upper()}.mp4",
    f"{ID.replace('-', '')}.mp4",
    f"{ID}.MP4",
    f"{ID} .mp4",
    f"{ID}.mp4?x=../../jobs.db",
    f"{ID};.mp4",
    "*.mp4",
    "~root/.bashrc",
    "a" * 4000,
    "%ff%fe.mp4",
    "\u202e4pm.exe",
]


@pytest.fixture
def clip(twin: Twin) -> str:
    return f"/files/{twin.ended(twin.submit())}.mp4"


def test_a_clip_is_public_typed_and_not_guessed_at(twin: Twin, clip: str) -> None:
    answer = twin.http.get(clip)
    assert answer.status_code == 200 and answer.content[4:8] == b"ftyp"
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_player_gets_the_part_it_asks_for(twin: Twin, clip: str) -> None:
    whole = twin.http.get(clip).content
    part = twin.http.get(clip, headers={"range": "bytes=4-11"})
    assert part.status_code == 206 and part.content == whole[4:12]
    assert part.headers["content-range"] == f"bytes 4-11/{len(whole)}"
    assert twin.http.get(clip, headers={"range": "bytes=999999-"}).status_code == 416
    assert twin.http.head(clip).headers["content-length"] == str(len(whole))


@pytest.mark.parametrize("odd", ["bytes=abc", "bytes=", "lines=1-2", "bytes=1-2,x"])
def test_a_range_that_is_none_is_ignored(twin: Twin, clip: str, odd: str) -> None:
    answer = twin.http.get(clip, headers={"range": odd})
    assert answer.status_code == 200 and answer.content == twin.http.get(clip).content


def test_who_has_the_clip_already_is_not_sent_it_again(twin: Twin, clip: str) -> None:
    facts = twin.http.get(clip).headers
    tags = {"if-none-match": f'"other", W/{facts["etag"]}'}
    for known in (tags, {"if-modified-since": facts["last-modified"]}):
        answer = twin.http.get(clip, headers=known)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", facts["etag"])
    for other in ({"if-none-match": '"other"'}, {"if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}):
        assert twin.http.get(clip, headers=other).status_code == 200


@pytest.mark.parametrize("place", ["/files/", "/cdn/files/"])
@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_other_name_is_a_file(shared_twin: Twin, place: str, name: str) -> None:
    data = shared_twin.house.jobs.files
    data.clip(ID).with_suffix(".npy").write_bytes(b"secret")
    answer = shared_twin.http.get(place + name)
    assert answer.status_code in (404, 405) and answer.headers["content-type"].startswith(
        ("application/json", "text/plain")
    )
    assert b"secret" not in answer.content and b"SQLite" not in answer.content


def test_an_unknown_clip_is_not_found(twin: Twin) -> None:
    answer = twin.http.get(f"/files/{ID}.mp4")
    assert answer.status_code == 404 and "No such file" in answer.json()["detail"]


def test_files_are_only_read(twin: Twin, clip: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = twin.http.request(method, clip)
        assert answer.status_code == 405 and answer.json()["detail"] == "Method Not Allowed"
