"""Requests and result of fal's Wan 2.2 endpoints, declared once.

Beyond the document's 20 fields: `end_image_url` and `enable_output_safety_checker` of its siblings, and 161 frames, as
fal's page says. Beyond fal's schema: seeds 0…2^53-1 (exact in JavaScript), prompts of 4,000 characters (UMT5 reads 512
tokens), addresses of 2,048.

Source: https://fal.ai/models/fal-ai/wan/v2.2-a14b/image-to-video/api
"""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

EXAMPLE_IMAGE_URL = "https://storage.googleapis.com/falserverless/model_tests/wan/dragon-warrior.jpg"
EXAMPLE_PROMPT = (
    "The white dragon warrior stands still, eyes full of determination and strength. The camera slowly moves closer or "
    "circles around the warrior, highlighting the powerful presence and heroic spirit of the character."
)
MAX_PROMPT_CHARS = 4_000
MAX_SEED = 2**53 - 1
MAX_IMAGE_URL_CHARS = 35_000_000  # a 25 MB picture as a base64 data URI
MAX_ADDRESS_CHARS = 2_048  # it is stored with the job

ADDED = ("end_image_url", "enable_output_safety_checker")
"""Not in the endpoint's document; sent to fal only where they say something."""

Resolution = Literal["480p", "580p", "720p"]
AspectRatio = Literal["auto", "16:9", "9:16", "1:1"]
Acceleration = Literal["none", "regular"]
InterpolatorModel = Literal["none", "film", "rife"]
VideoQuality = Literal["low", "medium", "high", "maximum"]
VideoWriteMode = Literal["fast", "balanced", "small"]


def _no_truth_value(value: object) -> object:
    """Refuse `true`, which pydantic would read as 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "is a truth value")
    return value


def _none_means_none(value: object) -> object:
    """fal: "If None, no interpolation is applied"."""
    return "none" if value is None else value


def _address_is_short(value: str) -> str:
    """A data URI may be long: it is read once and never stored."""
    is_data = value[:MAX_ADDRESS_CHARS].lstrip()[:5].lower() == "data:"
    if not is_data and len(value) > MAX_ADDRESS_CHARS:
        raise PydanticCustomError("string_too_long", "is too long", {"max_length": MAX_ADDRESS_CHARS})
    return value


@dataclass(frozen=True)
class IsPicture:
    """Marks a field that holds a URL, a data URI or an uploaded file."""


PictureUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_IMAGE_URL_CHARS),
    AfterValidator(_address_is_short),
    IsPicture(),
]
Prompt = Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARS)]
WholeNumber = Annotated[int, BeforeValidator(_no_truth_value)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED), BeforeValidator(_no_truth_value)]
RealNumber = Annotated[float, BeforeValidator(_no_truth_value), Field(allow_inf_nan=False)]


class ImageToVideoInput(BaseModel):
    """The document's 20 inputs, then ours. Unknown ones are ignored, as fal does; presets refuse them themselves."""

    model_config = ConfigDict(frozen=True, extra="ignore", title="ImageToVideoInput")

    image_url: PictureUrl = Field(
        title="Image URL",
        description="URL of the input image. If the input image does not match the chosen aspect ratio, it is resized "
        "and center cropped.",
        examples=[EXAMPLE_IMAGE_URL],
    )
    prompt: Prompt = Field(
        title="Prompt",
        description="The text prompt to guide video generation.",
        examples=[EXAMPLE_PROMPT],
    )
    num_frames: WholeNumber = Field(
        81,
        ge=17,
        le=161,
        title="Number of frames",
        description="Number of frames to generate. Must be between 17 to 161 (inclusive).",
        examples=[81],
    )
    frames_per_second: WholeNumber = Field(
        16,
        ge=4,
        le=60,
        title="Frames per second",
        description="Frames per second of the generated video. Must be between 4 to 60. When using interpolation and "
        "`adjust_fps_for_interpolation` is set to true (default true,) the final FPS will be multiplied by the number "
        "of interpolated frames plus one. For example, if the generated frames per second is 16 and the number of "
        "interpolated frames is 1, the final frames per second will be 32. If `adjust_fps_for_interpolation` is set to "
        "false, this value will be used as-is.",
        examples=[16],
    )
    negative_prompt: Prompt = Field(
        "",
        title="Negative prompt",
        description="Negative prompt for video generation.",
    )
    seed: Seed | None = Field(
        None,
        title="Seed",
        description="Random seed for reproducibility. If None, a random seed is chosen.",
    )
    resolution: Resolution = Field(
        "720p",
        title="Resolution",
        description="Resolution of the generated video (480p, 580p, or 720p).",
        examples=["720p"],
    )
    aspect_ratio: AspectRatio = Field(
        "auto",
        title="Aspect ratio",
        description="Aspect ratio of the generated video. If 'auto', the aspect ratio will be determined automatically "
        "based on the input image.",
        examples=["auto"],
    )
    num_inference_steps: WholeNumber = Field(
        27,
        ge=2,
        le=40,
        title="Number of inference steps",
        description="Number of inference steps for sampling. Higher values give better quality but take longer.",
        examples=[27],
    )
    enable_safety_checker: bool = Field(
        False,
        title="Enable safety checker",
        description="If set to true, input data will be checked for safety before processing.",
        examples=[True],
    )
    enable_prompt_expansion: bool = Field(
        False,
        title="Enable prompt expansion",
        description="Whether to enable prompt expansion. This will use a large language model to expand the prompt "
        "with additional details while maintaining the original meaning.",
        examples=[False],
    )
    acceleration: Acceleration = Field(
        "regular",
        title="Acceleration",
        description="Acceleration level to use. The more acceleration, the faster the generation, but with lower "
        "quality. The recommended value is 'regular'.",
        examples=["regular"],
    )
    guidance_scale: RealNumber = Field(
        3.5,
        ge=1,
        le=10,
        title="Guidance scale (1st stage)",
        description="Classifier-free guidance scale. Higher values give better adherence to the prompt but may "
        "decrease quality.",
        examples=[3.5],
    )
    guidance_scale_2: RealNumber = Field(
        3.5,
        ge=1,
        le=10,
        title="Guidance scale (2nd stage)",
        description="Guidance scale for the second stage of the model. This is used to control the adherence to the "
        "prompt in the second stage of the model.",
        examples=[3.5],
    )
    shift: RealNumber = Field(
        5,
        ge=1,
        le=10,
        title="Shift",
        description="Shift value for the video. Must be between 1.0 and 10.0.",
        examples=[5],
    )
    interpolator_model: Annotated[InterpolatorModel, BeforeValidator(_none_means_none)] = Field(
        "film",
        title="Interpolator model",
        description="The model to use for frame interpolation. If None, no interpolation is applied.",
        examples=["film"],
    )
    num_interpolated_frames: WholeNumber = Field(
        1,
        ge=0,
        le=4,
        title="Number of interpolated frames",
        description="Number of frames to interpolate between each pair of generated frames. Must be between 0 and 4.",
        examples=[1],
    )
    adjust_fps_for_interpolation: bool = Field(
        True,
        title="Adjust FPS for interpolation",
        description="If true, the number of frames per second will be multiplied by the number of interpolated frames "
        "plus one. For example, if the generated frames per second is 16 and the number of interpolated frames is 1, "
        "the final frames per second will be 32. If false, the passed frames per second will be used as-is.",
        examples=[True],
    )
    video_quality: VideoQuality = Field(
        "high",
        title="Video quality",
        description="The quality of the output video. Higher quality means better visual quality but larger file size.",
        examples=["high"],
    )
    video_write_mode: VideoWriteMode = Field(
        "balanced",
        title="Video write mode",
        description="The write mode of the output video. Faster write mode means faster results but larger file size, "
        "balanced write mode is a good compromise between speed and quality, and small write mode is the slowest but "
        "produces the smallest file size.",
        examples=["balanced"],
    )
    end_image_url: PictureUrl | None = Field(
        None,
        title="End image URL",
        description="URL of the end image: the clip ends on it. It is resized and center cropped to the frames of the "
        "input image.",
    )
    enable_output_safety_checker: bool = Field(
        False,
        title="Enable output safety checker",
        description="If set to true, output video will be checked for safety after generation.",
        examples=[False],
    )

    @model_validator(mode="after")
    def _prompt_is_given(self) -> Self:
        if not self.prompt.strip() and not self.enable_prompt_expansion:
            raise PydanticCustomError("string_too_short", "is empty", {"min_length": 1})
        return self


FIELDS = ImageToVideoInput.model_fields
TURBO_FIELDS = (
    "image_url",
    "prompt",
    "seed",
    "resolution",
    "aspect_ratio",
    "enable_safety_checker",
    "enable_output_safety_checker",
    "enable_prompt_expansion",
    "acceleration",
    "video_quality",
    "video_write_mode",
    "end_image_url",
)
ImageToVideoTurboInput: type[BaseModel] = create_model(
    "ImageToVideoTurboInput",
    __config__=ConfigDict(frozen=True, extra="ignore", title="ImageToVideoTurboInput"),
    __doc__="The inputs of the turbo endpoint: a part of the other's, with the same bounds and defaults.",
    __module__=__name__,
    **{name: (FIELDS[name].annotation, FIELDS[name]) for name in TURBO_FIELDS},  # type: ignore[call-overload]
)


class File(BaseModel):
    """A file of the result. `url` is public and needs no key."""

    url: str = Field(description="The URL where the file can be downloaded from.")
    content_type: str | None = Field(None, description="The mime type of the file.", examples=["video/mp4"])
    file_name: str | None = Field(None, description="The name of the file.")
    file_size: int | None = Field(None, description="The size of the file in bytes.")


class VideoFile(File):
    """What fal says of some videos, and we of all."""

    width: int | None = Field(None, description="The width of the video in pixels.")
    height: int | None = Field(None, description="The height of the video in pixels.")
    fps: float | None = Field(None, description="The frames per second of the video.")
    duration: float | None = Field(None, description="The duration of the video in seconds.")
    num_frames: int | None = Field(None, description="The number of frames of the video.")


class ImageToVideoOutput(BaseModel):
    """The three outputs of the endpoint."""

    video: VideoFile = Field(
        description="The generated video file.",
        examples=[{"url": "https://v3.fal.media/files/lion/Fbuh3lO_HMT-pS0DATbio_tmp08c3v477.mp4"}],
    )
    prompt: str = Field("", description="The text prompt used for video generation.", examples=[EXAMPLE_PROMPT])
    seed: int = Field(description="The seed used for generation.")
