"""The process of every rank but the first: `python -m wan_core.engine.cards.helper` and what `group` gives it.

Commands are JSON lines on stdin, tensors come over torch.distributed. Ends with its parent, also in mid-forward.
"""

import argparse
import ctypes
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from wan_core import logs, settings
from wan_core.engine import turbo
from wan_core.engine.acceleration import set_attention
from wan_core.engine.cards import rank
from wan_core.engine.cards.rank import Rank, Split
from wan_core.settings import Settings

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def ready_key(number: int) -> str:
    """In the store, once this rank is about to join; its value is the card's free bytes."""
    return f"ready {number}"


class Helper:
    """Obeys one command after the other."""

    def __init__(self, place: Rank, host: Settings) -> None:
        self._rank, self._host = place, host
        self._experts = SimpleNamespace(transformer=None, transformer_2=None)

    def obey(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "share":
                self._share(command)
            case "turbo":
                self._switch_turbo(command["lightning"])
            case "forward":
                self._forward(command)

    def _share(self, command: dict[str, Any]) -> None:
        expert = rank.bare(command["described"], self._rank.device)
        rank.share_weights(expert)
        self._rank.put_on(expert)
        setattr(self._experts, command["expert"], expert)

    def _switch_turbo(self, lightning: Any) -> None:
        if lightning and not turbo.is_loaded(self._experts):
            for name, lora in turbo.read(self._host, lambda event: None).items():
                turbo.add(getattr(self._experts, name), lora)
        turbo.switch(self._experts, lightning)

    def _forward(self, command: dict[str, Any]) -> None:
        expert = getattr(self._experts, command["expert"])
        set_attention(expert, command["attention"])
        latents, timestep, *texts = [self._receive(*described) for described in command["tensors"]]
        self._rank.forward(expert, expert, latents, timestep, texts)

    def _receive(self, shape: list[int], dtype: str) -> torch.Tensor:
        tensor = torch.empty(shape, dtype=getattr(torch, dtype), device=self._rank.device)
        distributed.broadcast(tensor, src=0)
        return tensor


def commands() -> Iterator[dict[str, Any]]:
    """A thread of its own reads them, so that the end of stdin ends this process in the middle of a forward too."""
    waiting: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, name="commands", daemon=True).start()
    while True:
        yield json.loads(waiting.get())


def end_with_parent() -> None:
    """Even while stopped, when the end of stdin is not noticed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    end_with_parent()
    asked = argparse.ArgumentParser()
    for name in ("rank", "cards", "port"):
        asked.add_argument(f"--{name}", type=int)
    for name in ("kind", "device"):
        asked.add_argument(f"--{name}")
    asked.add_argument("--patience", type=float)
    given = asked.parse_args()
    host = settings.load()
    logs.set_up(host.log_level)
    coming = commands()
    device, free = _own_card(given.device, given.rank)
    patience = timedelta(seconds=given.patience)
    store = TCPStore("127.0.0.1", given.port, timeout=patience)
    store.set(ready_key(given.rank), str(free))
    helper = Helper(Rank(Split(given.cards, given.kind), given.rank, device, store, patience), host)
    for command in coming:
        helper.obey(command)


def _own_card(kind: str, number: int) -> tuple[torch.device, int]:
    """The rank's card of those its worker sees, and its free bytes."""
    if kind == "cpu":
        return torch.device("cpu"), 0
    torch.cuda.set_device(number)
    return torch.device("cuda", number), torch.cuda.mem_get_info()[0]


if __name__ == "__main__":
    main()
