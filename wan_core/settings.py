"""The host's settings; the environment is read only here. Secrets are `SecretStr`: no log or page shows them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from wan_core.files import FileStore

StepCacheName = Literal["first-block", "cache-dit"]
ClipSplit = Literal["ulysses", "guidance"]

CUDA_ALLOCATOR, GROWING_SEGMENTS = "PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"
COMPUTING = {CUDA_ALLOCATOR: GROWING_SEGMENTS, "OMP_WAIT_POLICY": "PASSIVE"}
"""Of a computing process. PASSIVE: waiting threads sleep; spinning doubled the processor time."""
APP_FOLDER = Path(__file__).parents[1]
SPACE_DISK = Path("/data")  # a Space with storage has it
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """Bytes, seconds and counts."""

    max_body_bytes: int = 35_000_000  # a 25 MB picture as a data URI, on submit
    max_upload_bytes: int = 25_000_000
    max_page_body_bytes: int = 256_000  # an event of the page or a call of MCP; pictures travel as uploads
    max_other_body_bytes: int = 64_000
    body_deadline_s: float = 300  # 35 MB at 1 Mbit/s
    small_body_deadline_s: float = 30
    min_body_bytes_per_s: int = 32_000  # 256 kbit/s, after the first seconds
    max_clip_bytes: int = 500_000_000  # a clip fetched from fal
    waiting_jobs: int = 50
    waiting_jobs_per_client: int = 2
    running_jobs_per_client: int = 1
    unfinished_jobs: int = 60  # waiting or running; on ZeroGPU each job runs at once and none waits
    unfinished_jobs_per_client: int = 4
    attempts: int = 2  # of a job that killed its worker
    heartbeat_timeout_s: float = 120  # beats come at each step, and every 10 s in loading and compiling
    min_job_s: float = 20 * 60
    job_estimate_factor: float = 3
    keep_results_s: float = 24 * 3600
    keep_bytes: int = 10 * 10**9  # WAN_KEEP_GB
    free_disk_bytes: int = 2 * 10**9
    fal_deadline_s: float = 60 * 60
    page_sessions: int = 200  # a session in Gradio takes 200 kB; the least recent is forgotten
    question_s: float = 120  # a check or an expansion for a visitor
    expansion_deadline_s: float = 90  # loading, asking, writing


class Settings(BaseSettings):
    """As in the README."""

    model_config = SettingsConfigDict(env_prefix="WAN_", extra="ignore", frozen=True, env_ignore_empty=True)

    engine: str | None = None
    preset: str | None = None
    model: str | None = None
    model_revision: str | None = None
    data_dir: Path = Field(default_factory=lambda: SPACE_DISK if SPACE_DISK.is_dir() else Path("data"))
    api_keys: SecretStr = SecretStr("")
    public_url: str | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    force_safety: bool = False
    workers: int | None = Field(None, ge=1, le=64)  # one a card if unset
    cards_per_clip: int = Field(1, ge=1, le=8)
    clip_split: ClipSplit = "ulysses"  # see docs/scale.md
    ray_address: str | None = None  # host:port of a Ray cluster whose machines make the clips
    keep_gb: float = Field(10, gt=0)  # of results, for at most 24 hours
    sweep_cells: int | None = Field(None, ge=1, le=400)  # in one sweep
    fal_key: SecretStr | None = Field(None, validation_alias="FAL_KEY")
    fal_daily_jobs: int = Field(20, ge=0)
    fal_daily_dollars: float = Field(5.0, ge=0)
    fal_client_daily_jobs: int = Field(3, ge=0)
    hf_token: SecretStr | None = Field(None, validation_alias="HF_TOKEN")
    space_id: str | None = Field(None, validation_alias="SPACE_ID")
    space_host: str | None = Field(None, validation_alias="SPACE_HOST")
    zero_gpu: bool = Field(False, validation_alias="SPACES_ZERO_GPU")
    server_name: str = Field("127.0.0.1", validation_alias="GRADIO_SERVER_NAME")
    safety_model: Literal["freepik", "falconsai"] = "freepik"
    safety_level: Literal["low", "medium", "high"] = "medium"  # the mildest that is refused (freepik)
    safety_threshold: float | None = Field(None, ge=0, le=1)  # 0.5 if unset
    safety_prompt_level: Literal["controversial", "unsafe"] = "unsafe"  # the mildest that is refused
    expansion_url: str | None = None
    expansion_model: str | None = None
    expansion_key: SecretStr | None = None
    lightning: str | None = None  # repository or folder of other Lightning LoRAs
    lightning_revision: str | None = None
    film_on_cpu: bool = False  # else RIFE or optical flow replaces FILM without a card
    accelerate_attention: bool = True
    accelerate_compile: bool = True
    accelerate_fp8: bool = True
    accelerate_cache: bool = True
    accelerate_guidance: bool = True
    step_cache: StepCacheName = "first-block"

    @field_validator("cards_per_clip")
    @classmethod
    def _known_number(cls, cards: int) -> int:
        if cards not in (1, 2, 4, 8):
            raise ValueError("must be 1, 2, 4 or 8")
        return cards

    @property
    def files(self) -> FileStore:
        return FileStore(APP_FOLDER / self.data_dir)

    @property
    def visible_cards(self) -> str | None:
        """Empty hides all cards, unset none."""
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    @property
    def threads(self) -> int | None:
        """`OMP_NUM_THREADS`: by it, processes of one machine share the cores."""
        asked = os.environ.get("OMP_NUM_THREADS", "")
        return int(asked) or None if asked.isdecimal() else None

    @cached_property
    def limits(self) -> Limits:
        return Limits(keep_bytes=int(self.keep_gb * 10**9))

    @property
    def accepted_api_keys(self) -> frozenset[str]:
        return self._api_words - {"open"}

    @property
    def api_is_open(self) -> bool:
        """`WAN_API_KEYS` says `open`, or the server is bound to loopback."""
        return self.is_opened or (not self.accepted_api_keys and self.listens_on_loopback)

    @property
    def is_opened(self) -> bool:
        return "open" in self._api_words

    @property
    def _api_words(self) -> frozenset[str]:
        return frozenset(self.api_keys.get_secret_value().replace(",", " ").split())

    @property
    def listens_on_loopback(self) -> bool:
        return self.space_id is None and self.server_name in LOOPBACK


def let_cuda_memory_grow() -> None:
    """Before torch is imported: in blocks of fixed size, clips of many sizes leave gaps of gigabytes."""
    os.environ.setdefault(CUDA_ALLOCATOR, GROWING_SEGMENTS)


def load() -> Settings:
    """Raises SystemExit, naming the variable, if one cannot be used."""
    try:
        return Settings()
    except ValidationError as error:
        faults = [f"{_variable(fault['loc'])}: {fault['msg']}" for fault in error.errors(include_input=False)]
        raise SystemExit("Check the environment: " + "; ".join(faults)) from None


def with_variables(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of a computing process: our defaults, the host's variables, `changes`."""
    return COMPUTING | dict(os.environ) | dict(changes)


def _variable(loc: tuple[int | str, ...]) -> str:
    name = str(loc[0])
    return name if name.isupper() else f"WAN_{name.upper()}"
