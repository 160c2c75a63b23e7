"""requirements.lock says exactly what requirements.txt allows."""

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docs.lock import LOCK, RANGES, digest_of

AGAIN = "run `pip install uv && python docs/lock.py`"


def pins() -> dict[str, set[str]]:
    """Package → its versions: several where they depend on the Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", LOCK.read_text()):
        found.setdefault(name, set()).add(version)
    return found


def requirements(path: Path) -> list[Requirement]:
    return [Requirement(line) for line in path.read_text().splitlines() if line and not line.startswith("#")]


def test_the_lock_was_written_after_the_last_change_of_the_ranges() -> None:
    assert digest_of(RANGES) in LOCK.read_text(), AGAIN


def test_every_package_of_the_ranges_is_locked_within_its_range() -> None:
    locked = pins()
    for wanted in requirements(RANGES):
        versions = locked.get(canonicalize_name(wanted.name), set())
        assert versions or wanted.name == "torch", f"{wanted.name} is not locked: {AGAIN}"
        assert all(wanted.specifier.contains(version) for version in versions), f"{wanted}: {versions}; {AGAIN}"


def test_every_locked_package_has_a_hash_and_none_of_them_is_torchs() -> None:
    entries = re.split(r"(?m)^(?=[a-z0-9])", LOCK.read_text())[1:]
    assert len(entries) > 50
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not [name for name in pins() if re.match(r"torch$|triton|nvidia-|cuda-", name)]
