"""Import first: makes `spaces` 0.51 see ZeroGPU on a machine without CUDA.

Fork, pickling, packing and refusals are real; only the worker's two CUDA calls have CPU stand-ins.
"""

import os
import sys
import tempfile
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from tests.support.zerogpu import device_api

CARD = os.environ.get("SIMULATED_CARD", "NVIDIA RTX PRO 6000 Blackwell Server Edition")
"""By default what ZeroGPU lends since May 2026."""

cgroup = Path(tempfile.mkdtemp()) / "cgroup"
cgroup.write_text("1:devices:/fake\n")
os.environ["SPACES_ZERO_GPU"] = "true"
os.environ["SPACES_ZERO_DEVICE_API_URL"] = f"http://127.0.0.1:{device_api.start()}"
os.environ["ZEROGPU_PROC_SELF_CGROUP_PATH"] = str(cgroup)
os.environ.setdefault("ZEROGPU_OFFLOAD_DIR", tempfile.mkdtemp(dir=Path.home()))  # packing needs a real disk (O_DIRECT)

import torch  # noqa: E402

torch.version.cuda = torch.version.cuda or "12.8"
if not hasattr(torch._C, "_cuda_init"):  # CPU wheels lack the binding that spaces saves and restores
    torch._C._cuda_init = lambda: None
torch.cuda._is_in_bad_fork = device_api.not_in_bad_fork  # must be picklable, and live in a finished module


def _name_the_card() -> None:
    """Give `spaces` a GPU name; it asks the driver while being imported."""
    package = find_spec("spaces")
    assert package and package.submodule_search_locations
    file = Path(package.submodule_search_locations[0]) / "zero" / "config.py"
    spec = spec_from_file_location("spaces.zero.config", file)
    assert spec and spec.loader
    config = module_from_spec(spec)
    spec.loader.exec_module(config)
    vars(config)["_read_gpu_information"] = lambda: f"Model: {CARD}"
    sys.modules["spaces.zero.config"] = config


_name_the_card()

import spaces  # noqa: E402, F401
from spaces.zero import torch as zero_torch  # noqa: E402


def _init(uuid: str) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = uuid


def _move(callback: object = None) -> None:
    from spaces.zero.torch import patching

    for fake, original in patching.cuda_aliases.items():
        if original is not None:
            fake.data = original
    for pack in patching.tensor_packs:
        with Path(pack.path()).open("rb") as file:
            for tensor, size, aligned in [entry for batch in pack.batches for entry in batch] + pack.big_tensors:
                raw = bytearray(file.read(aligned)[:size])
                source = torch.frombuffer(raw, dtype=torch.uint8) if size else torch.empty(0, dtype=torch.uint8)
                real = torch.tensor([], dtype=tensor.dtype)
                real = real.set_(source.untyped_storage(), 0, tensor.shape, tensor.stride())
                for fake in pack.fakes[tensor]:
                    fake.data = real


zero_torch.init = _init
zero_torch.move = _move
