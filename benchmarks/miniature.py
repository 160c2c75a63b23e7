"""Measure the miniature's committed weights on held-out photographs.

    python -m benchmarks.miniature vae      the VAE against a 16-channel linear PCA, still clips, colours
    python -m benchmarks.miniature moves    right moves per photograph, seed and wording, first-frame dB
    python -m benchmarks.miniature looks    flicker, colour drift and block borders of whole clips
    python -m benchmarks.miniature knobs    what steps, guidance, shift and seed do: writes knobs.md and its picture
    python -m benchmarks.miniature sheets   contact sheets into docs/miniature/

Moves are measured by registration: normalised correlation finds the middle of the last frame in the first, at many
scales. Frame 4k is the decoded latent frame k alone, so only two are decoded.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UniPCMultistepScheduler, WanImageToVideoPipeline
from PIL import Image, ImageDraw
from skimage.feature import match_template

from training import prompts
from training.moving_pictures import HELD_OUT, random_crop, read_held_out, to_tensor
from wan_core.engine import miniature
from wan_core.engine.miniature.build import build_pipeline
from wan_core.presets import PLAIN, presets

ROOT = Path(__file__).parent.parent

WIDTH, HEIGHT = 208, 128
SHEETS = ROOT / "docs" / "miniature"
KNOBS = miniature.FOLDER / "knobs.md"
FIGURES = "## Figures"  # where the file's written part ends and the printed one begins


@dataclass(frozen=True)
class Settings:
    """`guidance` is the high-noise expert's, `guidance_2` the other's."""

    steps: int
    guidance: float
    guidance_2: float
    shift: float
    frames: int = 81


def settings_of(preset: str) -> Settings:
    values = presets()[preset].complete
    return Settings(
        values["num_inference_steps"], values["guidance_scale"], values["guidance_scale_2"], values["shift"]
    )


PRESET, FAL = settings_of("miniature"), settings_of(PLAIN)


@dataclass(frozen=True)
class Fit:
    """Content moved by (dx, dy) pixels and grew by `scale`."""

    dx: float
    dy: float
    scale: float
    correlation: float


def db(first: np.ndarray, second: np.ndarray) -> float:
    """PSNR of pictures in [0, 1]."""
    return float(-10 * np.log10(np.mean((first - second) ** 2)))


def register(first: np.ndarray, last: np.ndarray) -> Fit:
    """How the content of `first` moves and grows to become `last`; (H, W, 3) in [0, 1]."""
    grey_first, grey_last = first.mean(-1), last.mean(-1)
    height, width = grey_first.shape
    margin_y, margin_x = height // 4, width // 4
    template = grey_last[margin_y : height - margin_y, margin_x : width - margin_x]
    best = Fit(0, 0, 1, -1)
    for logarithm in np.arange(-0.26, 0.2601, 0.01):
        scale = float(np.exp(logarithm))
        size = (round(height * scale), round(width * scale))
        if size[0] < template.shape[0] or size[1] < template.shape[1]:
            continue
        grown = F.interpolate(
            torch.from_numpy(grey_first.copy())[None, None].float(), size=size, mode="bicubic", antialias=True
        )
        field = match_template(grown[0, 0].numpy(), template.astype(np.float32))
        y, x = np.unravel_index(int(np.argmax(field)), field.shape)
        if field[y, x] > best.correlation:
            dx = -(x + (template.shape[1] - 1) / 2 - (size[1] - 1) / 2)
            dy = -(y + (template.shape[0] - 1) / 2 - (size[0] - 1) / 2)
            best = Fit(dx, dy, scale, float(field[y, x]))
    return best


def is_right(move: str, fit: Fit, width: int = WIDTH) -> bool:
    """A pan or tilt of 1 % of the width or a zoom of 4 %, and little of anything else."""
    if fit.correlation < 0.7:
        return False
    if move == "static":
        return max(abs(fit.dx), abs(fit.dy)) < 1.2 and abs(fit.scale - 1) < 0.015
    along, across = {
        "pan left": (fit.dx, fit.dy), "pan right": (-fit.dx, fit.dy), "tilt up": (fit.dy, fit.dx),
        "tilt down": (-fit.dy, fit.dx),
        "push in": (fit.scale - 1, 0.0), "pull back": (1 / fit.scale - 1, 0.0),
    }[move]  # fmt: skip
    if move in ("push in", "pull back"):
        return along >= 0.04 and max(abs(fit.dx), abs(fit.dy)) < 0.05 * width
    return along >= 0.01 * width and abs(across) < along / 2 and abs(fit.scale - 1) < 0.04


def sample(
    pipeline: WanImageToVideoPipeline, picture: Image.Image, wanted: list[str], seed: int, settings: Settings
) -> torch.Tensor:
    """Latents of one clip a prompt, (N, 18, T, h, w), each from its own noise."""
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config, flow_shift=settings.shift)
    latents: torch.Tensor = pipeline(
        picture,
        wanted,
        width=picture.width,
        height=picture.height,
        num_frames=settings.frames,
        num_inference_steps=settings.steps,
        guidance_scale=max(settings.guidance, 1.0001 if settings.guidance_2 > 1 else 1),  # 1 silences both experts
        guidance_scale_2=settings.guidance_2,
        generator=torch.Generator().manual_seed(seed),
        output_type="latent",
    ).frames
    return latents


@torch.no_grad()
def decode(pipeline: WanImageToVideoPipeline, latents: torch.Tensor) -> np.ndarray:
    """(T, H, W, 3) in [0, 1]."""
    frames: np.ndarray = (pipeline.vae.decode(latents).sample[0].permute(1, 2, 3, 0).numpy() + 1) / 2
    return frames


def ends(pipeline: WanImageToVideoPipeline, latents: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    return decode(pipeline, latents[:, :, :1])[0], decode(pipeline, latents[:, :, -1:])[0]


def sharpness(frame: np.ndarray) -> float:
    """Mean absolute difference of neighbouring pixels."""
    return float(np.abs(np.diff(frame, axis=1)).mean() + np.abs(np.diff(frame, axis=0)).mean())


def photographs(names: list[str]) -> Iterator[tuple[str, Image.Image]]:
    for name in names:
        yield name, read_held_out(name, WIDTH, HEIGHT)


def pca16(pictures: torch.Tensor) -> torch.Tensor:
    """Projection on the 16 leading components of 8×8 colour blocks; the last row is their mean."""
    blocks = F.unfold(pictures, 8, stride=8).transpose(1, 2).reshape(-1, 192)
    mean = blocks.mean(0)
    vectors = torch.linalg.eigh((blocks - mean).T @ (blocks - mean)).eigenvectors[:, -16:]
    return torch.cat([vectors @ vectors.T, mean[None]])


def measure_vae(pipeline: WanImageToVideoPipeline) -> None:
    generator = torch.Generator().manual_seed(0)
    basis = pca16(torch.stack([random_crop(generator, 64, 64) for _ in range(3000)]))
    print(f"{'photograph':12s} {'PCA-16':>7s} {'VAE':>7s} {'gain':>6s}  still clip's change  mean colour's change")
    for name, picture in photographs(list(HELD_OUT)):
        x = to_tensor(picture)[None]
        blocks = F.unfold(x, 8, stride=8).transpose(1, 2)
        linear = F.fold(((blocks - basis[-1]) @ basis[:-1] + basis[-1]).transpose(1, 2), x.shape[2:], 8, stride=8)
        with torch.no_grad():
            latents = pipeline.vae.encode(x[:, :, None].expand(-1, -1, 9, -1, -1)).latent_dist.mode()
        clip = decode(pipeline, latents)
        true = (x[0].permute(1, 2, 0).numpy() + 1) / 2
        bound, own = db((linear[0].permute(1, 2, 0).numpy().clip(-1, 1) + 1) / 2, true), db(clip[0], true)
        steady, colour = np.abs(clip - clip[:1]).max(), np.abs(clip[0].mean((0, 1)) - true.mean((0, 1))).max()
        print(f"{name:12s} {bound:7.2f} {own:7.2f} {own - bound:+6.2f}  {steady:18.5f}  {colour:19.4f}")


def measure_moves(pipeline: WanImageToVideoPipeline, options: argparse.Namespace) -> None:
    settings = FAL if options.fal else PRESET
    print(settings)
    right: dict[tuple[str, str], list[bool]] = {}
    first_db: dict[str, list[float]] = {}
    detail: dict[str, list[float]] = {}
    for (turn, (name, picture)), seed in itertools.product(
        enumerate(photographs(options.photographs)), range(options.seeds)
    ):
        true = np.asarray(picture) / 255
        wanted = [prompts.wordings(move)[(turn + seed) % 4] for move in options.moves]
        latents = sample(pipeline, picture, wanted, seed, settings)
        for move, prompt, clip in zip(options.moves, wanted, latents, strict=True):
            first, last = ends(pipeline, clip[None])
            fit = register(first, last)
            right.setdefault((name, move), []).append(is_right(move, fit))
            first_db.setdefault(name, []).append(db(first, true))
            detail.setdefault(move, []).append(sharpness(last) / sharpness(first))
            print(f"{name:11s} {move:10s} seed {seed} {'right' if right[name, move][-1] else 'WRONG'} dx {fit.dx:+6.1f}"
                  f" dy {fit.dy:+6.1f} scale {fit.scale:.2f} correlation {fit.correlation:.2f}"
                  f" first frame {first_db[name][-1]:.1f} dB  {prompt!r}", flush=True)  # fmt: skip
    for key, label in ((0, "photograph"), (1, "move")):
        for value in dict.fromkeys(pair[key] for pair in right):
            votes = [vote for pair, each in right.items() if pair[key] == value for vote in each]
            print(f"{label} {value}: {sum(votes)}/{len(votes)} right")
    votes = [vote for each in right.values() for vote in each]
    print(f"all: {sum(votes)}/{len(votes)} right ({100 * sum(votes) / len(votes):.0f} %)")
    print("detail of the last frame:", {move: round(float(np.mean(values)), 2) for move, values in detail.items()})
    print("first frame dB:", {name: round(float(np.mean(values)), 1) for name, values in first_db.items()})


def measure_looks(pipeline: WanImageToVideoPipeline, options: argparse.Namespace) -> None:
    for name, picture in photographs(options.photographs):
        true = np.asarray(picture) / 255
        for prompt in ("static shot", "pan left", "push in"):
            clip = decode(pipeline, sample(pipeline, picture, [prompt], 0, PRESET))
            brightness = 255 * clip.mean((1, 2))
            flicker = np.abs(np.diff(brightness, 2, axis=0)).max()
            drift = np.abs(brightness - brightness[0]).max()
            change = 255 * np.abs(np.diff(clip, axis=0)).mean((1, 2, 3)).max()
            print(f"{name:11s} {prompt:11s} flicker of the mean {flicker:.2f}, drift of the mean {drift:.2f}, largest"
                  f" change from frame to frame {change:.2f}, borders {borders(clip[-1]):.2f} (photograph"
                  f" {borders(true):.2f})", flush=True)  # fmt: skip


def borders(frame: np.ndarray) -> float:
    """How much steeper a frame is across borders of its 16×16 tokens than inside."""
    across = np.abs(np.diff(frame, axis=1)).mean((0, 2))
    return float(across[15::16].mean() / np.delete(across, np.s_[15::16]).mean())


def measure_knobs(pipeline: WanImageToVideoPipeline) -> None:
    """Write the tables and the sheet of last frames that the page shows."""
    picture = read_held_out("tower", WIDTH, HEIGHT)
    moves = list(prompts.MOVES)
    rows: list[list[tuple[str, np.ndarray]]] = []
    text = KNOBS.read_text(encoding="utf-8").partition(FIGURES)[0] + FIGURES + "\n"
    knobs = {
        "steps": [replace(PRESET, steps=steps) for steps in (2, 4, 8, 16, 27, 40)],
        "guidance_scale": [replace(PRESET, guidance=guidance) for guidance in (1, 2, 3.5, 5, 7)],
        "guidance_scale_2": [replace(PRESET, guidance_2=guidance) for guidance in (1, 2, 3.5, 5, 7)],
        "shift": [replace(PRESET, shift=shift) for shift in (1, 2, 3, 5, 8, 10)],
    }
    for knob, table in knobs.items():
        text += f"\n| {knob} | right of {len(moves)} | pan, px | push in, % | sharp, % | first, dB |\n"
        text += "|---|---|---|---|---|---|\n"
        rows.append([])
        for settings in table:
            value = {
                "guidance_scale": settings.guidance, "guidance_scale_2": settings.guidance_2, "shift": settings.shift
            }.get(knob, settings.steps)  # fmt: skip
            line, last = measure_setting(pipeline, picture, moves, settings)
            text += f"| {value:g} | {line} |\n"
            print(knob, f"{value:g}", line, flush=True)
            rows[-1].append((f"{knob} {value:g}", last))
    text += "\n| prompt | seed | right, px | down, px | larger, % |\n|---|---|---|---|---|\n"
    for prompt in ("pan left", "a tower"):
        rows.append([])
        for seed in range(5):
            first, last = ends(pipeline, sample(pipeline, picture, [prompt], seed, PRESET))
            fit = register(first, last)
            text += f"| {prompt} | {seed} | {fit.dx:.0f} | {fit.dy:.0f} | {100 * fit.scale - 100:.0f} |\n".replace(
                "-0 ", "0 "
            )
            rows[-1].append((f"{prompt}, seed {seed}", last))
    draw_rows(rows).save(KNOBS.with_suffix(".jpg"), quality=85)
    KNOBS.write_text(text, encoding="utf-8")
    print(text)


def measure_setting(
    pipeline: WanImageToVideoPipeline, picture: Image.Image, moves: list[str], settings: Settings
) -> tuple[str, np.ndarray]:
    true = np.asarray(picture) / 255
    clips = sample(pipeline, picture, [prompts.wordings(move)[0] for move in moves], 0, settings)
    frames = [ends(pipeline, clip[None]) for clip in clips]
    fits = [register(first, last) for first, last in frames]
    right = sum(is_right(move, fit) for move, fit in zip(moves, fits, strict=True))
    sharp = 100 * np.mean([sharpness(last) for _, last in frames]) / sharpness(true)
    larger = 100 * fits[moves.index("push in")].scale - 100
    row = f"{right} | {fits[0].dx:.0f} | {larger:.0f} | {sharp:.0f} | {db(frames[0][0], true):.1f}"
    return row, frames[0][1]


def draw_rows(rows: list[list[tuple[str, np.ndarray]]]) -> Image.Image:
    """Frames are (H, W, 3) in [0, 1]."""
    sheet = Image.new("RGB", (max(map(len, rows)) * WIDTH, len(rows) * HEIGHT), "white")
    draw = ImageDraw.Draw(sheet)
    for (top, row), left in ((item, left) for item in enumerate(rows) for left in range(len(item[1]))):
        label, frame = row[left]
        place = (left * WIDTH, top * HEIGHT)
        sheet.paste(Image.fromarray((frame * 255).clip(0, 255).round().astype(np.uint8)), place)
        draw.text((place[0] + 4, place[1] + 2), label, fill="white", stroke_width=2, stroke_fill="black")
    return sheet


def draw_sheets(pipeline: WanImageToVideoPipeline, options: argparse.Namespace) -> None:
    """A row a move: frames 0, 40, 80 and the difference of the outer two."""
    SHEETS.mkdir(parents=True, exist_ok=True)
    for name, picture in photographs(options.photographs):
        rows = []
        for move in options.moves:
            frames = decode(pipeline, sample(pipeline, picture, [prompts.wordings(move)[1]], 0, PRESET)[:, :, ::10])
            shown = [frames[0], frames[4], frames[8], np.abs(frames[8] - frames[0])]
            rows.append([(move if not column else "", frame) for column, frame in enumerate(shown)])
        draw_rows(rows).save(SHEETS / f"{name}.jpg", quality=85)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("vae", "moves", "looks", "knobs", "sheets"))
    parser.add_argument("--moves", nargs="+", default=list(prompts.MOVES), choices=list(prompts.MOVES))
    parser.add_argument("--photographs", nargs="+", default=list(HELD_OUT), choices=list(HELD_OUT))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fal", action="store_true", help="fal's defaults: 27 steps, guidance 3.5, shift 5")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pipeline = build_pipeline()
    pipeline.set_progress_bar_config(disable=True)
    if options.what == "vae":
        measure_vae(pipeline)
    elif options.what == "moves":
        measure_moves(pipeline, options)
    elif options.what == "looks":
        measure_looks(pipeline, options)
    elif options.what == "knobs":
        measure_knobs(pipeline)
    else:
        draw_sheets(pipeline, options)


if __name__ == "__main__":
    main()
