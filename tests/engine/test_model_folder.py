"""Finding and fetching a model: from a loopback hub in a process of its own, since the hub's client reads its address
when it is imported, and what is said when name, network or disk fail.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.hub import REVISION, Hub, serving
from wan_core.engine.model_folder import find_model
from wan_core.errors import BackendError
from wan_core.profiles import EngineProfile
from wan_core.settings import Settings

REPO = "somebody/wan"
FETCH = f"""
import json, shutil, sys
from types import SimpleNamespace
from wan_core.engine.model_folder import find_model
from wan_core.errors import BackendError
from wan_core.events import to_json
from wan_core.profiles import EngineProfile
from wan_core.settings import Settings
free = int(sys.argv[2])
shutil.disk_usage = lambda path: SimpleNamespace(free=free)
profile = EngineProfile("tiny", "Tiny Wan", "", repo="{REPO}", revision=sys.argv[1])
try:
    folder = find_model(profile, Settings(), lambda event: print(to_json(event)))
    print(json.dumps({{"folder": str(folder), "torch": "torch" in sys.modules}}))
except BackendError as error:
    print(json.dumps({{"type": error.type, "message": error.message}}))
"""
Told = list[dict[str, object]]
Fetch = Callable[..., Told]


@pytest.fixture
def hub(saved: Path) -> Iterator[Hub]:
    with serving(saved, REPO) as hub:
        yield hub


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Fetch:
    """`fetch()` gives what a fresh process says while it looks for the model."""

    def run(
        revision: str = REVISION, free: int = 10**12, url: str = hub.url, **variables: str
    ) -> list[dict[str, object]]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = (
            kept | {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1"} | variables
        )
        command = [sys.executable, "-c", FETCH, revision, str(free)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return [json.loads(line) for line in ran.stdout.splitlines()]

    return run


def test_a_model_is_downloaded_once_without_code_or_pickle_and_then_needs_no_network(
    fetch: Fetch, hub: Hub, saved: Path
) -> None:
    (hub.folder / "vae" / "modeling.py").write_text("print('gotcha')")
    (hub.folder / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    first = fetch()
    assert hub.asked and {Path(name).suffix for name in hub.asked} == {".json", ".safetensors"}
    steps = [event["done"] for event in first if event.get("event") == "Step"]
    assert steps == sorted(steps) and steps[-1] == 100
    assert first[0]["event"] == "Stage" and "Downloading Tiny Wan" in str(first[0]["detail"])
    folder = Path(str(first[-1]["folder"]))
    assert folder.name == REVISION
    shards = sorted(path.name for path in saved.glob("transformer/*.safetensors"))
    assert sorted(path.name for path in folder.glob("transformer/*.safetensors")) == shards and len(shards) > 1
    hub.shutdown()
    assert fetch() == [{"folder": str(folder), "torch": False}]


@pytest.mark.slow
def test_another_repository_can_be_named_with_its_branch(fetch: Fetch) -> None:
    ours = fetch(revision="f" * 40, WAN_MODEL=REPO, WAN_MODEL_REVISION="main")
    assert Path(str(ours[-1]["folder"])).name == REVISION


@pytest.mark.parametrize(
    "revision, variables, named",
    [
        pytest.param("f" * 40, {}, "f" * 40, marks=pytest.mark.slow, id="unknown revision"),
        pytest.param(
            REVISION, {"WAN_MODEL": "nobody/nothing"}, "nobody/nothing", marks=pytest.mark.slow, id="unknown repository"
        ),
    ],
)
def test_a_wrong_name_is_said_with_the_setting_that_mends_it(
    fetch: Fetch, revision: str, variables: dict[str, str], named: str
) -> None:
    answer = fetch(revision, **variables)[-1]
    assert answer["type"] == "engine_unavailable"
    assert named in str(answer["message"]) and "WAN_MODEL" in str(answer["message"])


@pytest.mark.slow
def test_where_the_host_forbids_the_network_the_sentence_says_so(fetch: Fetch) -> None:
    answer = fetch(HF_HUB_OFFLINE="1")[-1]
    assert answer["type"] == "engine_unavailable"
    assert "cannot be reached" in str(answer["message"])


@pytest.mark.slow
def test_without_a_network_the_sentence_says_so(fetch: Fetch) -> None:
    answer = fetch(url="http://127.0.0.1:9")[-1]
    assert answer["type"] == "engine_unavailable"
    assert "cannot be reached" in str(answer["message"])


def test_too_little_disk_is_said_before_anything_is_downloaded(fetch: Fetch, hub: Hub) -> None:
    answer = fetch(free=1000)[-1]
    assert answer["type"] == "storage_full"
    assert "GB of disk" in str(answer["message"]) and hub.asked == []


@pytest.mark.fault  # the hub's client tries for 8 s
def test_a_download_that_broke_off_goes_on_the_next_time(fetch: Fetch, hub: Hub) -> None:
    hub.breaks = True
    broken = fetch()[-1]
    assert broken["type"] == "engine_unavailable"
    hub.breaks = False
    assert "folder" in fetch()[-1]


def test_a_local_folder_needs_no_hub(fetch: Fetch, saved: Path) -> None:
    assert fetch(url="http://127.0.0.1:9", WAN_MODEL=str(saved)) == [{"folder": str(saved), "torch": False}]


def test_a_folder_that_is_no_wan_or_lacks_a_shard_is_refused(saved: Path, tmp_path: Path) -> None:
    profile = EngineProfile("tiny", "Tiny Wan", "", repo=REPO, revision=REVISION)
    with pytest.raises(BackendError, match=r"no Wan 2\.2"):
        find_model(profile, Settings(model=str(tmp_path)), [].append)
    shard = next(saved.glob("transformer_2/*.safetensors"))
    shard.unlink()
    with pytest.raises(BackendError, match=re.escape(shard.name)):
        find_model(profile, Settings(model=str(saved)), [].append)
