"""Measure milliseconds a pair and peak memory of every interpolator, on the CPU and on a CUDA card if there is one.

    python benchmarks/interpolation.py                  ms per pair at 480p and 720p (FILM: minutes on a CPU)
    python benchmarks/interpolation.py --clip           peak memory of 64 and of 401 frames of 720p: the fallback, and
                                                        on a card the networks too
    python benchmarks/interpolation.py --only rife,fallback

Weights are random: neither time nor memory depends on them. Each figure has its own process. CPU seconds (all threads)
are steadier than wall time on a shared machine.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from wan_core.geometry import LANDSCAPE, Size
from wan_core.interpolation import Frame, InterpolationPlan, iter_interpolated

SIZES = {"480p": LANDSCAPE["480p"], "720p": LANDSCAPE["720p"]}


def main() -> None:
    options = arguments()
    if options.measure:
        print(json.dumps(measure(*options.measure.split(","))))
        return
    print(f"{date.today()}  {machine()}")
    for device in ["cpu", *(["cuda"] if has_cuda() else [])]:
        for used in options.only.split(","):
            if options.clip:
                report_memory(used, device)
            else:
                report_time(used, device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", action="store_true", help="peak memory of whole clips")
    parser.add_argument("--only", default="film,rife,fallback", help="interpolators, with commas")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser.parse_args()


def report_time(used: str, device: str) -> None:
    if used == "fallback" and device == "cuda":
        return
    for name in SIZES:
        frames = 2 if (used, device) == ("film", "cpu") else 9
        found = child(used, device, name, frames)
        print(
            f"{used:9} {device:5} {name}  {found['ms_per_pair']:9.1f} ms/pair  {cpu(found)}  {memory(found)}",
            flush=True,
        )


def report_memory(used: str, device: str) -> None:
    if (used == "fallback") == (device == "cuda"):
        return  # ffmpeg never uses a card, and a network would need hours for 401 frames without one
    for frames in (64, 401):
        found = child(used, device, "720p", frames)
        print(f"{used:9} {device:5} 720p  {frames:3} frames  {memory(found)}", flush=True)


def cpu(found: dict[str, float]) -> str:
    return f"({found['cpu_ms_per_pair']:.0f} ms of CPU)"


def memory(found: dict[str, float]) -> str:
    words = [f"peak {found['process_mb']:.0f} MB"]
    if found["ffmpeg_mb"]:
        words.append(f"ffmpeg {found['ffmpeg_mb']:.0f} MB")
    if found["card_mb"]:
        words.append(f"card {found['card_mb']:.0f} MB")
    return ", ".join(words)


def child(used: str, device: str, size: str, frames: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", f"{used},{device},{size},{frames}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(done.stdout))


def measure(used: str, device: str, size: str, frames: str) -> dict[str, float]:
    """One new frame a pair, after a warm-up."""
    with tempfile.TemporaryDirectory() as folder:
        interpolation = InterpolationPlan(used, weights=random_weights(used, Path(folder)))
        run(interpolation, device, SIZES[size], 2 if device == "cuda" or used == "rife" else 1)
        start, used_before = time.perf_counter(), cpu_seconds()
        run(interpolation, device, SIZES[size], int(frames))
        seconds, cpu_s = time.perf_counter() - start, cpu_seconds() - used_before
    return {
        "ms_per_pair": 1000 * seconds / (int(frames) - 1),
        "cpu_ms_per_pair": 1000 * cpu_s / (int(frames) - 1),
        "process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "ffmpeg_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 if used == "fallback" else 0,
        "card_mb": card_mb() if device == "cuda" else 0,
    }


def cpu_seconds() -> float:
    """Of this process and the children it has waited for."""
    return sum(os.times()[:4])


def run(interpolation: InterpolationPlan, device: str, size: Size, frames: int) -> None:
    for _ in iter_interpolated(film(size, frames), 1, interpolation, device):
        pass


def film(size: Size, frames: int) -> Iterator[Frame]:
    """Smooth noise that moves 7 pixels right and 3 down a frame."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (size.height // 8 + 1, size.width // 8 + 1, 3), np.uint8)
    picture = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    for number in range(frames):
        yield np.roll(picture, (3 * number, 7 * number), (0, 1))[: size.height, : size.width].copy()


def random_weights(used: str, folder: Path) -> Path | None:
    if used == "fallback":
        return None
    from safetensors.torch import save_file

    network = import_module(f"wan_core.interpolation._{used}_network").network()
    save_file(network.state_dict(), folder / f"{used}.safetensors")
    return folder / f"{used}.safetensors"


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def card_mb() -> float:
    import torch

    return torch.cuda.max_memory_allocated() / 2**20


def machine() -> str:
    import torch

    cpu = next((line.split(":")[1].strip() for line in lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    card = f", {torch.cuda.get_device_name()}" if has_cuda() else ""
    return (
        f"{cpu}, {torch.get_num_threads()} threads{card}, torch {torch.__version__}, Python {platform.python_version()}"
    )


def lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    main()
