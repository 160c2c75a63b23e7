"""Stage times learned from finished clips, as multiples of the priors, in a small JSON file.

An unreadable file counts as empty; a newer version's is left alone.
"""

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from wan_core.events import StageName

log = logging.getLogger(__name__)

VERSION = 1  # 0, before there were versions: the ratios alone
LATEST = 9  # ratios of finished clips, per engine, machine and stage
NEWER = "%s was written by a newer version of this app (%s, this one knows %s): it is left alone and not used."

Ratios = dict[str, list[float]]


class Calibration:
    """`key`: engine and machine. Thread-safe."""

    def __init__(self, path: Path | None = None) -> None:
        stored = _read(path)
        self._path = path if stored is not None else None
        self._ratios: Ratios = stored or {}
        self._mutex = threading.Lock()

    def factor(self, key: str, stage: StageName, variant: str) -> float:
        """Median of the last ratios; of other variants if this one never ran."""
        same_stage = f"{key}|{stage}|"
        with self._mutex:
            ratios = self._ratios.get(same_stage + variant)
            others = [ratio for name, known in self._ratios.items() if name.startswith(same_stage) for ratio in known]
        return median(ratios or others or [1.0])

    def record(
        self, key: str, variants: Mapping[str, str], predicted: Mapping[StageName, float], took: Mapping[str, float]
    ) -> None:
        """Learn from one clip; `predicted` is by priors alone."""
        with self._mutex:
            for stage, seconds in predicted.items():
                if seconds > 0 and took.get(stage, 0) > 0:
                    ratios = self._ratios.setdefault(f"{key}|{stage}|{variants.get(stage, '')}", [])
                    ratios[:] = [*ratios, took[stage] / seconds][-LATEST:]
            self._write()

    def _write(self) -> None:
        if self._path:
            partial = self._path.with_name(self._path.name + ".part")
            partial.write_text(json.dumps({"version": VERSION, "ratios": self._ratios}, indent=1), "utf-8")
            partial.replace(self._path)


def _read(path: Path | None) -> Ratios | None:
    """`None` if a newer version wrote the file."""
    try:
        stored: dict[str, Any] = json.loads(path.read_text("utf-8")) if path else {}
        version = stored.get("version", 0)
        if version > VERSION:
            log.warning(NEWER, path, version, VERSION)
            return None
        ratios = stored["ratios"] if version else stored
        return {str(key): [float(ratio) for ratio in known] for key, known in ratios.items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}
