"""Settings from files of other tools, read in a real browser. The files are built here as those tools write them."""

import json
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page

from tests.support.grid_page import write_page
from wan_core import encoding, recipe
from wan_core.geometry import Size
from wan_core.recipe import Recipe

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NATIVE: dict[str, Any] = {  # the template "Wan 2.2 14B image to video": two samplers, one an expert
    "93": {"class_type": "CLIPTextEncode", "inputs": {"text": "The cat turns its head.", "clip": ["84", 0]}},
    "89": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["84", 0]}},
    "98": {
        "class_type": "WanImageToVideo",
        "inputs": {
            "width": 832, "height": 480, "length": 81, "batch_size": 1, "positive": ["93", 0], "negative": ["89", 0],
            "start_image": ["97", 0],
        },
    },
    "85": {
        "class_type": "KSamplerAdvanced",
        "inputs": {
            "add_noise": "disable", "noise_seed": 0, "steps": 20, "cfg": 4, "sampler_name": "euler",
            "scheduler": "simple", "start_at_step": 10, "end_at_step": 20, "positive": ["98", 0], "negative": ["98", 1],
        },
    },
    "86": {
        "class_type": "KSamplerAdvanced",
        "inputs": {
            "add_noise": "enable", "noise_seed": ["300", 0], "steps": 20, "cfg": 3.5, "sampler_name": "euler",
            "scheduler": "simple", "start_at_step": 0, "end_at_step": 10, "positive": ["98", 0], "negative": ["98", 1],
        },
    },
    "300": {"class_type": "PrimitiveInt", "inputs": {"value": 636787045983965}},
    "103": {"class_type": "ModelSamplingSD3", "inputs": {"shift": 8, "model": ["95", 0]}},
    "104": {"class_type": "ModelSamplingSD3", "inputs": {"shift": 8, "model": ["96", 0]}},
    "101": {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "detail.safetensors", "strength_model": 1}},
    "94": {"class_type": "CreateVideo", "inputs": {"fps": 16, "images": ["87", 0]}},
}  # fmt: skip
OF_NATIVE = {
    "prompt": "The cat turns its head.", "negative_prompt": "blurry", "seed": 636787045983965, "shift": 8,
    "num_inference_steps": 20, "guidance_scale": 3.5, "guidance_scale_2": 4, "num_frames": 81, "resolution": "480p",
    "aspect_ratio": "16:9", "frames_per_second": 16,
}  # fmt: skip
WRAPPER: dict[str, Any] = {  # a workflow as the editor saves it: values without names
    "nodes": [
        {"id": 1, "type": "WanVideoTextEncode", "widgets_values": ["Pan left.", "static", True]},
        {"id": 2, "type": "WanVideoImageToVideoEncode", "widgets_values": [480, 832, 65, 0, 1, 1, True]},
        {
            "id": 3, "type": "WanVideoSampler", "widgets_values": [30, 6, 5, 42, "fixed", True, "unipc", 0],
            "inputs": [{"name": "text_embeds", "link": 7}, {"name": "image_embeds", "link": 8}],
        },
        {"id": 4, "type": "RIFE VFI", "widgets_values": ["rife47.pth", 10, 2]},
        {"id": 5, "type": "VHS_VideoCombine", "widgets_values": {"frame_rate": 32, "filename_prefix": "wan"}},
        {"id": 6, "type": "KSampler", "mode": 4, "widgets_values": [1, "fixed", 99, 9, "euler", "simple", 1]},
    ],
    "links": [[7, 1, 0, 3, 0, "WANVIDEOTEXTEMBEDS"], [8, 2, 0, 3, 1, "WANVIDIMAGE_EMBEDS"]],
}  # fmt: skip
OF_WRAPPER = {
    "prompt": "Pan left.", "negative_prompt": "static", "seed": 42, "num_inference_steps": 30, "guidance_scale": 6,
    "guidance_scale_2": 6, "shift": 5, "num_frames": 65, "resolution": "480p", "aspect_ratio": "9:16",
    "frames_per_second": 16, "interpolator_model": "rife", "num_interpolated_frames": 1,
}  # fmt: skip
WAN2GP = {
    "type": "WanGP v9.44 by DeepBeepMeep - https://github.com/deepbeepmeep/Wan2GP", "model_type": "i2v_2_2",
    "prompt": "The dragon breathes.", "negative_prompt": "", "resolution": "1280x720", "video_length": 81, "seed": 1234,
    "num_inference_steps": 25, "guidance_scale": 3.5, "guidance2_scale": 4.5, "guidance_phases": 2, "flow_shift": 6,
    "force_fps": "", "sample_solver": "unipc", "activated_loras": ["smoke.safetensors"], "temporal_upsampling": "",
}  # fmt: skip
OF_WAN2GP = {
    "prompt": "The dragon breathes.", "negative_prompt": "", "seed": 1234, "num_inference_steps": 25, "shift": 6,
    "guidance_scale": 3.5, "guidance_scale_2": 4.5, "num_frames": 81, "resolution": "720p", "aspect_ratio": "16:9",
}  # fmt: skip
A1111 = (
    "a warrior, dramatic light\nsecond line\nNegative prompt: blurry, text\n"
    'Steps: 24, Sampler: Euler a, Schedule type: Simple, CFG scale: 5.5, Seed: 77, Size: 624x624, Model: "wan, 2.2"'
)
OF_A1111 = {
    "prompt": "a warrior, dramatic light\nsecond line", "negative_prompt": "blurry, text", "seed": 77,
    "num_inference_steps": 24, "guidance_scale": 5.5, "guidance_scale_2": 5.5, "resolution": "480p",
    "aspect_ratio": "1:1",
}  # fmt: skip


@pytest.fixture
def reader(visitor: Page, site: tuple[Path, str]) -> Page:
    folder, address = site
    write_page(folder, '<input type="file" id="file">', "reader.html")
    visitor.goto(f"{address}/reader.html")
    return visitor


def read(page: Page, path: Path) -> dict[str, Any]:
    """What the page makes of a file: `request`, `explore` and `note`."""
    page.locator("#file").set_input_files(path)
    found: dict[str, Any] = page.evaluate("wanExplore.settingsIn(document.getElementById('file').files[0])")
    found["request"] = json.loads(found["settings"])["request"] if found["settings"] else None
    return found


def mp4(path: Path, tags: Mapping[str, str], *flags: str) -> Path:
    """An mp4 with these tags; the index stands at the end unless a flag moves it."""
    metadata = [part for name, text in tags.items() for part in ("-metadata", f"{name}={text}")]
    source = ["-f", "lavfi", "-i", "color=c=gray:s=64x64:d=0.5:r=16"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, *metadata, *flags, str(path)]
    subprocess.run(command, check=True)
    return path


def png(path: Path, texts: Mapping[str, str], *, zipped: bool = False) -> Path:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text, zip=zipped)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def test_the_recipe_of_this_app_is_read_wherever_the_index_stands(reader: Page, tmp_path: Path) -> None:
    comment = recipe.to_comment(Recipe({"num_frames": 49, "prompt": "tilt – 上"}, "miniature"), "1")
    first = tmp_path / "ours.mp4"
    black = np.zeros((2, 64, 64, 3), np.uint8)
    encoding.encode(black, first, size=Size(64, 64), fps=16, quality="low", write_mode="fast", comment=comment)
    for path in (first, mp4(tmp_path / "cut.mp4", {"comment": comment})):
        assert read(reader, path) == {
            "settings": comment,
            "explore": "",
            "note": "",
            "request": json.loads(comment)["request"],
        }


def test_comfyuis_native_nodes_give_both_experts_guidance(reader: Page, tmp_path: Path) -> None:
    prompt = json.dumps(NATIVE)
    webp = tmp_path / "clip.webp"
    exif = Image.Exif()
    exif[0x0110], exif[0x010F] = f"prompt:{prompt}", "workflow:{}"  # as SaveAnimatedWEBP does
    Image.new("RGB", (8, 8)).save(webp, exif=exif)
    files = [
        png(tmp_path / "still.png", {"prompt": prompt, "workflow": "{}"}),
        webp,
        mp4(tmp_path / "native.mp4", {"prompt": prompt}, "-movflags", "use_metadata_tags"),
        mp4(
            tmp_path / "vhs.mp4", {"comment": json.dumps({"prompt": prompt, "workflow": {}})}, "-movflags", "+faststart"
        ),
    ]
    (tmp_path / "api.json").write_text(prompt)
    for path in [*files, tmp_path / "api.json"]:
        found = read(reader, path)
        assert found["request"] == OF_NATIVE, path.name
        for word in ("From ComfyUI", "sampler euler", "LoRA detail.safetensors", "exact size 832 × 480"):
            assert word in found["note"], path.name


def test_a_workflow_of_the_wanvideo_wrapper_is_read_by_the_order_of_its_widgets(reader: Page, tmp_path: Path) -> None:
    (tmp_path / "workflow.json").write_text(json.dumps(WRAPPER))
    zipped = png(tmp_path / "workflow.png", {"workflow": json.dumps(WRAPPER)}, zipped=True)
    for path in (tmp_path / "workflow.json", zipped):
        found = read(reader, path)
        assert found["request"] == OF_WRAPPER
        assert "scheduler unipc" in found["note"]


def test_named_widgets_are_read_by_their_names(reader: Page, tmp_path: Path) -> None:
    names = ["seed", "steps", "cfg", "sampler_name", "scheduler", "denoise"]
    inputs = [
        {"name": "model", "link": None},
        *({"name": name, "widget": {"name": name}, "link": None} for name in names),
    ]
    node = {
        "id": 1,
        "type": "KSampler",
        "inputs": inputs,
        "widgets_values": [5, "randomize", 12, 2.5, "uni_pc", "simple", 1],
    }
    (tmp_path / "named.json").write_text(json.dumps({"nodes": [node], "links": []}))
    request = read(reader, tmp_path / "named.json")["request"]
    assert request == {"seed": 5, "num_inference_steps": 12, "guidance_scale": 2.5, "guidance_scale_2": 2.5}


def test_wan2gps_comment_is_read_and_what_has_no_counterpart_is_listed(reader: Page, tmp_path: Path) -> None:
    found = read(reader, mp4(tmp_path / "wan2gp.mp4", {"comment": json.dumps(WAN2GP)}))
    assert found["request"] == OF_WAN2GP
    assert found["note"].startswith("From Wan2GP: prompt, negative prompt,")
    for word in ("LoRA smoke.safetensors", "model_type i2v_2_2", "sample_solver unipc"):
        assert word in found["note"]
    (tmp_path / "random.json").write_text(
        json.dumps(WAN2GP | {"seed": -1, "temporal_upsampling": "rife4", "force_fps": "12"})
    )
    request = read(reader, tmp_path / "random.json")["request"]
    assert "seed" not in request and request["frames_per_second"] == 12
    assert (request["interpolator_model"], request["num_interpolated_frames"]) == ("rife", 3)


def test_a1111s_text_is_read_from_png_jpeg_and_text_files(reader: Page, tmp_path: Path) -> None:
    jpeg = tmp_path / "picture.jpg"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16be")
    Image.new("RGB", (8, 8)).save(jpeg, exif=exif)
    (tmp_path / "parameters.txt").write_text(A1111)
    for path in (png(tmp_path / "picture.png", {"parameters": A1111}), jpeg, tmp_path / "parameters.txt"):
        found = read(reader, path)
        assert found["request"] == OF_A1111, path.name
        assert "Sampler Euler a" in found["note"] and 'Model "wan, 2.2"' in found["note"]


def test_the_axes_of_a_grid_come_back_from_its_exports(reader: Page, tmp_path: Path) -> None:
    definition = '{"axes":[["guidance_scale","1, 3.5"]],"scout":true}'
    (tmp_path / "grid.csv").write_text(f"# explore={definition}\r\nlabel,state\r\na,done\r\n")
    (tmp_path / "grid.json").write_text(json.dumps({"explore": json.loads(definition), "shared": {"shift": 4}}))
    assert json.loads(read(reader, tmp_path / "grid.csv")["explore"]) == json.loads(definition)
    found = read(reader, tmp_path / "grid.json")
    assert (json.loads(found["explore"]), found["request"]) == (json.loads(definition), {"shift": 4})


BROKEN = [
    b"",
    b"\0" * 40,
    b"\x89PNG\r\n\x1a\n" + b"\xff" * 30,
    b"RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xff" + b"II*\0" * 4,
    b"\0\0\0\x08ftyp\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xd8\xff\xe1\x00\x08Exif\0\0" + b"\xff" * 20,
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dzTXtprompt\0\0" + zlib.compress(b"x")[:6],
    b'{"nodes": [null, {"type": "KSampler", "inputs": 5, "widgets_values": "x"}], "links": [null, [1]]}',
    b'{"1": {"class_type": 3, "inputs": {"a": ["1", 0]}}, "2": {"class_type": "KSampler", "inputs": "x"}}',
    b'{"group": {"sweep": 3}, "explore": {"axes": null}}',
    b'{"type": "WanGP", "activated_loras": 3, "resolution": [1], "seed": {}}',
    b"[" * 10_000,
    b"Steps: \n",
]


def test_broken_and_strange_files_give_nothing_and_no_error(reader: Page, tmp_path: Path) -> None:
    for number, content in enumerate(BROKEN):
        for name in (f"{number}.mp4", f"{number}.json"):
            (tmp_path / name).write_bytes(content)
            found = read(reader, tmp_path / name)
            assert (found["request"], found["explore"]) == (None, ""), content[:40]


def test_a_link_that_runs_in_a_circle_ends(reader: Page, tmp_path: Path) -> None:
    circle = {
        "1": {"class_type": "KSampler", "inputs": {"seed": ["2", 0], "steps": 9, "cfg": 1, "positive": ["1", 0]}},
        "2": {"class_type": "PrimitiveInt", "inputs": {"value": ["2", 0]}},
    }
    (tmp_path / "circle.json").write_text(json.dumps(circle))
    assert read(reader, tmp_path / "circle.json")["request"]["num_inference_steps"] == 9
