"""Enlarging with the picture against plain enlarging: clips of the real miniature over twelve photographs.

    python -m benchmarks.enlarging                      PSNR of four frames, steadiness, milliseconds a frame
    python -m benchmarks.enlarging --frames 81          clips of another length
    python -m benchmarks.enlarging --photographs cat tower --moves "pan left"
    python -m benchmarks.enlarging --knobs              how sharp the result is at other settings
    python -m benchmarks.enlarging --sheets FOLDER      also write plain | with picture | truth side by side

The truth is the full-size picture moved as the clip moves. That movement is measured without the enlarger: OpenCV's ECC
finds an affine map from each small frame to the first, a parabola over nine frames steadies it. Only what lies inside
the picture is compared, at a quarter, half, three quarters and the end. Clips are the page's preset (480p, 8 steps).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image

from benchmarks.miniature import PRESET, Settings, sample
from training import moving_pictures, prompts
from wan_core.engine.decoding import iter_decoded
from wan_core.engine.framing import frame_picture
from wan_core.engine.miniature import fast_vae
from wan_core.engine.miniature.build import build_pipeline
from wan_core.enlarging import enlarge_plainly, enlarge_with_picture
from wan_core.frames import Frame
from wan_core.geometry import LANDSCAPE, crop_box, fit, rendered_size

SIZE = LANDSCAPE["480p"]
LOW = rendered_size(SIZE, 4)
FILES = {
    **moving_pictures.HELD_OUT,
    **{name: moving_pictures.TRAINING[name] for name in moving_pictures.PHOTOGRAPHS if name != "cameraman"},
}
STEADYING = 4


@dataclass(frozen=True)
class Clip:
    name: str
    picture: Frame
    low: list[Frame]


@dataclass(frozen=True)
class Row:
    """PSNR of the four frames (mean, and the smallest gain), change from frame to frame, processor time."""

    guided: float
    plain: float
    least_gain: float
    change: float
    first: float
    ms: float


def make_clip(pipe: WanImageToVideoPipeline, name: str, move: str, settings: Settings) -> Clip:
    picture = Image.open(moving_pictures.package_file(*FILES[name])).convert("RGB")
    latents = sample(pipe, frame_picture(picture, SIZE, LOW), [prompts.wordings(move)[0]], 0, settings)
    low = [frame for piece in iter_decoded(pipe.vae, latents) for frame in piece]
    return Clip(f"{name}, {move}", np.asarray(fit(picture, SIZE)), low)


def true_moves(low: list[Frame]) -> list[np.ndarray]:
    """(2, 3) each: a small frame's pixel → its place in the first one."""
    grey = [cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), 1.5) for frame in low]
    move: np.ndarray = np.eye(2, 3, dtype=np.float32)
    moves: list[np.ndarray] = [np.eye(2, 3)]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-6)
    for frame in grey[1:]:
        found = cv2.findTransformECC(frame, grey[0], move, cv2.MOTION_AFFINE, criteria, None, 1)  # type: ignore[call-overload]
        move = np.asarray(found[1])
        moves.append(move.copy())
    return [steady(np.array(moves), number) for number in range(len(moves))]


def steady(moves: np.ndarray, number: int) -> np.ndarray:
    first, last = max(0, number - STEADYING), min(len(moves), number + STEADYING + 1)
    times = np.arange(first, last) - number
    weights = np.where(np.arange(first, last) == 0, 50, 1)
    fitted: np.ndarray = np.polynomial.polynomial.polyfit(times, moves[first:last].reshape(-1, 6), 2, w=weights)
    return np.asarray(fitted[0].reshape(2, 3))


def true_frame(picture: Frame, move: np.ndarray) -> tuple[Frame, np.ndarray]:
    """The picture after the move, and where that is known."""
    kept = crop_box(LOW, SIZE)
    scale = (kept.right - kept.left) / SIZE.width
    to_low = np.array([[scale, 0, kept.left + scale / 2 - 0.5], [0, scale, kept.top + scale / 2 - 0.5], [0, 0, 1]])
    places = (np.linalg.inv(to_low) @ np.vstack([move, [0, 0, 1]]) @ to_low)[:2]
    size, flags = (SIZE.width, SIZE.height), cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(picture, places, size, flags=cv2.INTER_LANCZOS4 | flags, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.full(picture.shape[:2], 255, np.uint8), places, size, flags=cv2.INTER_LINEAR | flags)
    return np.asarray(moved, np.uint8), cv2.erode((inside == 255).astype(np.uint8), np.ones((9, 9)), borderValue=1) > 0


def psnr(a: Frame, b: Frame, where: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.square(a[where].astype(float) - b[where]).mean())))


def measure(clip: Clip, sheets: Path | None) -> Row:
    started = time.process_time()
    film = list(enlarge_with_picture(clip.low, clip.picture))
    ms = 1000 * (time.process_time() - started) / len(film)
    moves, values = true_moves(clip.low), []
    for number in range((len(film) - 1) // 4, len(film), (len(film) - 1) // 4):
        truth, inside = true_frame(clip.picture, moves[number])
        plain = enlarge_plainly(clip.low[number], SIZE)
        values.append((psnr(film[number], truth, inside), psnr(plain, truth, inside)))
        if sheets:
            beside = np.hstack([plain, film[number], truth])
            Image.fromarray(beside).save(sheets / f"{clip.name.replace(', ', '-').replace(' ', '_')}-{number}.png")
    guided, plain_db = np.array(values).T
    change = np.mean([np.abs(a.astype(float) - b).mean() for a, b in pairwise(film)])
    first = float(np.abs(film[0].astype(float) - clip.picture).mean())
    return Row(guided.mean(), plain_db.mean(), (guided - plain_db).min(), float(change), first, ms)


def report(pipe: WanImageToVideoPipeline, options: argparse.Namespace) -> None:
    gains, static = [], []
    for turn, name in enumerate(options.photographs):
        for move in options.moves or ["static", list(prompts.MOVES)[turn % 6], list(prompts.MOVES)[(turn + 3) % 6]]:
            row = measure(make_clip(pipe, name, move, replace(PRESET, frames=options.frames)), options.sheets)
            if move == "static":
                static.append(row.change)
            else:
                gains.append((row.guided - row.plain, row.least_gain))
            print(
                f"{name:16} {move:10} with the picture {row.guided:5.1f} dB, plainly {row.plain:5.1f}, smallest gain"
                f" {row.least_gain:5.1f}, change a frame {row.change:5.2f}, first frame off by"
                f" {row.first:.2f}, {row.ms:5.1f} ms a frame",
                flush=True,
            )
    if gains:
        print(f"{len(gains)} moving clips: mean gain {np.mean(gains, 0)[0]:.1f} dB, smallest {np.min(gains):.1f} dB")
    if static:
        print(f"{len(static)} static clips: largest change from frame to frame {np.max(static):.2f} levels")


KNOBS: dict[str, list[Settings]] = {
    "steps": [replace(PRESET, steps=steps) for steps in (2, 4, 8, 16, 27, 40)],
    "guidance_scale": [replace(PRESET, guidance=guidance) for guidance in (1, 2, 3.5, 5, 7)],
    "guidance_scale_2": [replace(PRESET, guidance_2=guidance) for guidance in (1, 2, 3.5, 5, 7)],
    "shift": [replace(PRESET, shift=shift) for shift in (1, 2, 3, 5, 8, 10)],
}


def report_knobs(pipe: WanImageToVideoPipeline, options: argparse.Namespace) -> None:
    """A table for `knobs.md`: detail (mean difference of neighbours) of the last frame in percent of the picture's."""
    print("| knob | value | plainly enlarged, % | in the clip, % |\n|---|---|---|---|")
    for knob, table in KNOBS.items():
        for each in table:
            settings = replace(each, frames=options.frames)
            shares = [shares_of_detail(make_clip(pipe, name, "pan left", settings)) for name in options.photographs]
            plainly, in_the_clip = 100 * np.mean(shares, 0)
            value = {"steps": each.steps, "guidance_scale": each.guidance, "guidance_scale_2": each.guidance_2}
            print(f"| {knob} | {value.get(knob, each.shift):g} | {plainly:.0f} | {in_the_clip:.0f} |", flush=True)


def shares_of_detail(clip: Clip) -> tuple[float, float]:
    """Of the last frame, plainly enlarged and with the picture."""
    last = list(enlarge_with_picture(clip.low, clip.picture))[-1]
    plain, whole = detail(enlarge_plainly(clip.low[-1], SIZE)), detail(clip.picture)
    return plain / whole, detail(last) / whole


def detail(frame: Frame) -> float:
    return float(np.abs(np.diff(frame.astype(float), axis=1)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--moves", nargs="+", choices=list(prompts.MOVES))
    parser.add_argument("--knobs", action="store_true")
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    pipe = build_pipeline()
    pipe.set_progress_bar_config(disable=True)
    fast_vae.speed_up(pipe.vae)
    report_knobs(pipe, options) if options.knobs else report(pipe, options)


if __name__ == "__main__":
    main()
