"""What all tests share: a clean environment and a folder for data."""

from pathlib import Path

import pytest

from wan_core.files import FileStore

HOST_VARIABLES = ("FAL_KEY", "HF_TOKEN", "SPACE_ID", "SPACE_HOST", "SPACES_ZERO_GPU", "GRADIO_SERVER_NAME")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test depends on the host's variables, and none writes into the checkout."""
    import os

    for name in [name for name in os.environ if name.startswith("WAN_")] + list(HOST_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WAN_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def data(tmp_path: Path) -> FileStore:
    folder = FileStore(tmp_path / "data")
    folder.root.mkdir()
    return folder


@pytest.fixture
def reachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client speaks to loopback servers even where HF_HUB_OFFLINE is set."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any weights and without a network; the folder where the hub would keep them."""
    import huggingface_hub.constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return cache
