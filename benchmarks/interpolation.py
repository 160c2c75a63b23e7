"""Measure milliseconds a pair and peak memory of every interpolator, on the CPU and on a CUDA card if there is one.

    python -m benchmarks.interpolation                  ms per pair at 480p and 720p (FILM: minutes on a CPU)
    python -m benchmarks.interpolation --clip           peak memory of 64 and of 401 frames of 720p: the fallback, and
                                                        on a card the networks too
    python -m benchmarks.interpolation --only rife,fallback
    python -m benchmarks.interpolation --quality        PSNR of the true frames between, at 480p: the fallback, blending

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
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from wan_core.frames import Frame
from wan_core.geometry import LANDSCAPE, Size
from wan_core.interpolation import InterpolationPlan, iter_interpolated

SIZES = {"480p": LANDSCAPE["480p"], "720p": LANDSCAPE["720p"]}


def main() -> None:
    options = arguments()
    if options.measure:
        print(json.dumps(measure(*options.measure.split(","))))
        return
    print(f"{date.today()}  {machine()}")
    if options.quality:
        report_quality()
        return
    for device in ["cpu", *(["cuda"] if has_cuda() else [])]:
        for used in options.only.split(","):
            if options.clip:
                report_memory(used, device)
            else:
                report_time(used, device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", action="store_true", help="peak memory of whole clips")
    parser.add_argument("--quality", action="store_true", help="PSNR against the true frames between")
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
        return  # the fallback never uses a card, and a network would need hours for 401 frames without one
    for frames in (64, 401):
        found = child(used, device, "720p", frames)
        print(f"{used:9} {device:5} 720p  {frames:3} frames  {memory(found)}", flush=True)


def cpu(found: dict[str, float]) -> str:
    return f"({found['cpu_ms_per_pair']:.0f} ms of CPU)"


def memory(found: dict[str, float]) -> str:
    words = [f"peak {found['process_mb']:.0f} MB"]
    if found["card_mb"]:
        words.append(f"card {found['card_mb']:.0f} MB")
    return ", ".join(words)


def child(used: str, device: str, size: str, frames: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.interpolation", "--measure", f"{used},{device},{size},{frames}"]
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


MOVES: dict[str, tuple[float, float, float, float]] = {  # right, down, growth, turn in degrees, for one frame
    "pan 0.3": (0.3, 0, 1, 0),
    "pan 2": (2, 0, 1, 0),
    "pan 9": (9, 0, 1, 0),
    "pan 12": (12, 3, 1, 0),
    "pan 40": (40, 0, 1, 0),
    "zoom and turn": (0, 0, 1.03, 1.5),
}


def report_quality() -> None:
    """Whole frames, borders and all; the mean over three photographs that ship in scikit-image and scikit-learn."""
    pictures = [photograph(*place) for place in PHOTOGRAPHS]
    for name, move in MOVES.items():
        report_film(name, [partial(moved, picture, move) for picture in pictures])
    report_film("two layers", [partial(two_layers, picture) for picture in pictures])


def report_film(name: str, films: list[Callable[[float], Frame]]) -> None:
    for count in (1, 3):
        values = []
        pairs = [[film(0), film(1)] for film in films]
        started = cpu_seconds()
        new = [list(iter_interpolated(pair, count, InterpolationPlan("fallback")))[1:-1] for pair in pairs]
        ms = 1000 * (cpu_seconds() - started) / len(films)
        for film, frames in zip(films, new, strict=True):
            for number, frame in enumerate(frames, 1):
                time_between = number / (count + 1)
                truth = film(time_between)
                blend = film(0) * (1 - time_between) + film(1) * time_between
                values.append((psnr(frame, truth), psnr(blend.round(), truth)))
        ours, blended = np.mean(values, axis=0)
        print(
            f"{name:14} {count} between  {ours:5.1f} dB, blending {blended:5.1f}, {ms:5.0f} ms of CPU a pair",
            flush=True,
        )


PHOTOGRAPHS = (
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/coffee.png"),
)


def photograph(package: str, path: str) -> Frame:
    """Larger than 480p, so that what comes in at the borders is real."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is needed for its pictures"
    picture = Image.open(Path(spec.origin).parent / path).convert("RGB")
    scale = max(1100 / picture.width, 760 / picture.height)
    return np.asarray(picture.resize((round(picture.width * scale), round(picture.height * scale))))


def moved(picture: Frame, move: tuple[float, float, float, float], time: float) -> Frame:
    right, down, growth, turn = move
    size, middle = SIZES["480p"], (picture.shape[1] / 2, picture.shape[0] / 2)
    matrix = cv2.getRotationMatrix2D(middle, turn * time, growth**time)
    matrix[:, 2] += size.width / 2 - middle[0] + right * time, size.height / 2 - middle[1] + down * time
    return np.asarray(cv2.warpAffine(picture, matrix, (size.width, size.height), flags=cv2.INTER_LANCZOS4), np.uint8)


def two_layers(picture: Frame, time: float) -> Frame:
    """A disc of the picture, upside down, moves right while the rest moves left."""
    behind, before = moved(picture, (-14, 0, 1, 0), time), moved(picture[::-1], (14, 0, 1, 0), time)
    disc = np.zeros(behind.shape[:2], np.float32)
    cv2.circle(disc, (round(16 * (416 + 14 * time)), 16 * 240), 16 * 110, 1.0, -1, cv2.LINE_AA, 4)
    share = cv2.GaussianBlur(disc, (0, 0), 1)[..., None]
    return np.asarray((behind * (1 - share) + before * share).round(), np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.square(a.astype(float) - b).mean())))


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
