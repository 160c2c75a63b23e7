"""However an inner address is spelt, nobody knocks there: a canary listens on loopback and must stay alone."""

import asyncio
from io import BytesIO

import pytest

from tests.intake.servers import Names, answering, serving
from wan_core.errors import InputError
from wan_core.intake import Fetcher, FetchLimits

NAMES = {
    "localhost": [["127.0.0.1"]],
    "localhost.": [["127.0.0.1"]],
    "LOCALHOST": [["127.0.0.1"]],
    "local.attacker.example": [["127.0.0.1"]],
    "mixed.attacker.example": [["8.8.8.8", "127.0.0.1"]],
    "mapped.attacker.example": [["::ffff:127.0.0.1"]],
    "nothing.attacker.example": [[]],
    "odd.attacker.example": [["not an address"]],
    "xn--bcher-kva.example": [["127.0.0.1"]],
}
# These would reach the canary if the address rule let them: the control test below proves it.
REACHING = [
    "http://127.0.0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://127。0。0。1:{port}/",
    "http://127．0．0．1:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://local.attacker.example:{port}/",
    "http://mapped.attacker.example:{port}/",
    "http://xn--bcher-kva.example:{port}/",
    "http://127.0.0.1:0{port}/",
    "http://127.0.0.1:{port}/?http://8.8.8.8",
    "http://127.0.0.1:{port}#@8.8.8.8/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[0:0:0:0:0:ffff:7f00:0001]:{port}/",
]
OTHERS = [
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://127.0.0.1/",
    "http://127.0.0.1:22/",
    "https://127.0.0.1:{port}/",
    "https://localhost:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://8.8.8.8:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@8.8.8.8/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://169.254.169.254:{port}/latest/meta-data/",
    "http://2852039166:{port}/",
    "http://100.100.100.200:{port}/",
    "http://192.0.0.192:{port}/",
    "http://168.63.129.16:{port}/",
    "http://10.0.0.1:{port}/",
    "http://192.168.0.1:{port}/",
    "http://[fd00:ec2::254]:{port}/",
    "http://mixed.attacker.example:{port}/",
    "http://nothing.attacker.example:{port}/",
    "http://odd.attacker.example:{port}/",
    "http://%6c%6f%63%61%6c%68%6f%73%74:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
    "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}/",
    "http://127.0.0.1:{port} /",
    "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1\r\nHost: x:{port}/",
    "http://127.0.0.1:{port}\x00/",
    "http://a..b:{port}/",
    "http://.:{port}/",
    "http://" + "a" * 64 + ".example:{port}/",
    "http://" + "a." * 200 + "example:{port}/",
    "http://xn--:{port}/",
    "http://[::1:{port}/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:٣٢/",
    "http://:{port}/",
    "http://",
    "",
    "file:///etc/hostname",
    "gopher://127.0.0.1:{port}/_GET",
    "ftp://127.0.0.1:{port}/",
    "dict://127.0.0.1:{port}/",
    "unix:/run/service.sock",
    "jar:http://127.0.0.1:{port}!/",
    "\ud800http://127.0.0.1:{port}/",
    "/etc/hostname",
]


async def _canary_after(urls: list[str]) -> int:
    """How many connections the canary saw while each URL was tried and refused."""
    async with serving(answering(b"secret")) as canary:
        limits = FetchLimits(total_s=3.0, ports=frozenset({80, canary.port}))
        fetch = Fetcher(resolver=Names(NAMES), limits=limits)
        for url in urls:
            with pytest.raises(InputError) as refused:
                await fetch.fetch(url.replace("{port}", str(canary.port)), BytesIO(), max_bytes=100)
            assert refused.value.type == "file_download_error", url
            assert refused.value.field == "image_url"
        return canary.connections


def test_no_spelling_of_an_inner_address_reaches_the_canary() -> None:
    assert len(REACHING) + len(OTHERS) >= 45
    assert asyncio.run(_canary_after(REACHING + OTHERS)) == 0


@pytest.mark.parametrize("url", REACHING)
def test_control_the_same_spelling_reaches_the_canary_where_every_address_is_allowed(url: str) -> None:
    async def reach() -> bytes:
        async with serving(answering(b"secret")) as canary:
            limits = FetchLimits(total_s=3.0, ports=frozenset({canary.port}))
            fetch = Fetcher(lambda address: True, Names(NAMES), limits)
            into = BytesIO()
            await fetch.fetch(url.replace("{port}", str(canary.port)), into, max_bytes=100)
            return into.getvalue()

    assert asyncio.run(reach()) == b"secret"


def test_an_inner_name_and_an_unknown_name_get_the_same_sentence() -> None:
    async def sentence(answers: list[str]) -> str:
        fetch = Fetcher(resolver=Names({"host.example": [answers]}))
        with pytest.raises(InputError) as refused:
            await fetch.fetch("http://host.example/", BytesIO(), max_bytes=1)
        return refused.value.message

    assert asyncio.run(sentence(["10.0.0.1"])) == asyncio.run(sentence([]))


def test_only_the_two_web_ports_are_open_by_default() -> None:
    assert FetchLimits().ports == {80, 443}
    assert FetchLimits().total_s == 20.0
    assert FetchLimits().redirects == 3
