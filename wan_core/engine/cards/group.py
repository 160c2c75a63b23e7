"""The first rank's side: starts the helpers, gives them the experts, and lets all run each forward together.

The pipeline stays as it is: it calls its experts, whose forwards are replaced here. Prompts, scheduler, callbacks, VAE
and cancelling are the first rank's alone, between forwards no helper has anything to do. After any failure the group is
lost for good, and with it its process: `is_lost`.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from wan_core import settings
from wan_core.engine import memory
from wan_core.engine.cards import rank
from wan_core.engine.cards.helper import ready_key
from wan_core.engine.cards.rank import Rank, Split
from wan_core.errors import BackendError
from wan_core.profiles import Lightning
from wan_core.settings import APP_FOLDER

log = logging.getLogger(__name__)

EXPERTS = ("transformer", "transformer_2")
PATIENCE = timedelta(minutes=5)  # a forward of 720p takes a minute at most, and the weights reach all within another
START_S = 600.0  # a helper imports torch and diffusers first: ten seconds, minutes on a busy machine
GRACE_S = 20.0  # nccl may wait for a dead rank for ever: then this process ends
LOST = "One of the {cards} processes that make a clip together stopped or no longer answers."
TOO_FULL = "The memory of the {cards} cards is not enough for this clip. Try fewer frames or a smaller resolution."
HEADS = "The model's {heads} attention heads cannot be shared by {degree} cards. Set WAN_CARDS_PER_CLIP to a divisor."


class CardGroup:
    """`device`: the first rank's. Blocks in `join` until all are there."""

    def __init__(self, split: Split, device: torch.device, patience: timedelta = PATIENCE) -> None:
        self.split, self.is_lost = split, False
        self._device, self._patience = device, patience
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=patience)
        self._closing, self._busy = False, threading.Lock()
        self._helpers = [_Helper(self._arguments(number), self._lose) for number in range(1, split.cards)]
        self._rank: Rank | None = None
        self._guided: Callable[[], bool] = lambda: False
        self._negative: torch.Tensor | None = None
        self._unguided_result: torch.Tensor | None = None

    def join(self) -> int:
        """Return the free bytes of the smallest of the helpers' cards (0 without cards).

        Raises:
            BackendError: `worker_lost`.
        """
        keys = [ready_key(number) for number in range(1, self.split.cards)]
        until = time.monotonic() + START_S
        while not self._store.check(keys):
            if self.is_lost or time.monotonic() > until:
                raise self._lost_error()
            time.sleep(0.05)
        with self._together():
            self._rank = Rank(self.split, 0, self._device, self._store, self._patience)
        return min(int(self._store.get(key)) for key in keys)

    def share(self, pipe: Any) -> None:
        """Give the experts of `pipe` to the helpers, and run them together from now on.

        Raises:
            BackendError: `engine_unavailable` (its heads cannot be divided), `worker_lost`.
        """
        heads = pipe.transformer.config.num_attention_heads
        if heads % self.split.degree:
            raise BackendError("engine_unavailable", HEADS.format(heads=heads, degree=self.split.degree))
        self._guided = lambda: bool(pipe.do_classifier_free_guidance)
        for name in EXPERTS:
            expert = getattr(pipe, name)
            with self._together():
                self._tell({"do": "share", "expert": name, "described": rank.describe(expert)})
                rank.share_weights(expert)
                self._first.put_on(expert)
            expert.forward = partial(self._forward, name, expert, expert.forward)

    def switch_turbo(self, lightning: Lightning | None) -> None:
        self._tell({"do": "turbo", "lightning": lightning})

    def begin(self, negative: torch.Tensor | None) -> None:
        """Before each clip. `negative`: the negative prompt's embeddings, if a step is guided."""
        self._negative, self._unguided_result = negative, None

    def close(self) -> None:
        """End the helpers."""
        self._closing = True
        for helper in self._helpers:
            helper.kill()
        if self._rank is not None and not self.is_lost:
            self._rank.close()
            self._rank = None

    def _forward(
        self,
        name: str,
        expert: Any,
        run: Any,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        **unused: Any,
    ) -> tuple[torch.Tensor]:
        """In the place of `expert.forward`. With both passes at once, the second call returns what the first made."""
        if self._unguided_result is not None:
            result, self._unguided_result = self._unguided_result, None
            return (result,)
        texts = [encoder_hidden_states]
        if self.split.halves > 1 and self._negative is not None and self._guided():
            texts.append(self._negative.to(encoder_hidden_states))
        tensors = [tensor.contiguous() for tensor in (hidden_states, timestep, *texts)]
        with self._together():
            self._tell(_forward_command(name, expert, tensors))
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)
            results = self._first.forward(expert, run, tensors[0], tensors[1], tensors[2:])
        self._unguided_result = results[1] if len(results) > 1 else None
        return (results[0],)

    @contextmanager
    def _together(self) -> Iterator[None]:
        """While all ranks work. Any error leaves the others waiting, so it ends the group."""
        if self.is_lost:
            raise self._lost_error()
        try:
            with self._busy:
                yield
        except Exception as error:
            log.warning("the cards' work together failed", exc_info=True)
            lost = self._lost_error()
            for helper in self._helpers:
                helper.kill()
            if memory.says_out_of_memory(error):
                raise BackendError("out_of_memory", TOO_FULL.format(cards=self.split.cards)) from error
            raise lost from error

    @property
    def _first(self) -> Rank:
        assert self._rank is not None, "join() comes first"
        return self._rank

    def _tell(self, command: dict[str, Any]) -> None:
        for helper in self._helpers:
            helper.tell(command)

    def _lose(self) -> None:
        """A helper has ended."""
        if self._closing:
            return
        log.error("a helper process of the cards ended")
        self.is_lost = True
        if not self._busy.acquire(timeout=GRACE_S):
            log.error("the first rank still waits for it: the process ends")
            os._exit(1)
        self._busy.release()

    def _lost_error(self) -> BackendError:
        self.is_lost = True
        return BackendError("worker_lost", LOST.format(cards=self.split.cards))

    def _arguments(self, number: int) -> list[str]:
        values = {
            "rank": number,
            "cards": self.split.cards,
            "kind": self.split.kind,
            "device": self._device.type,
            "port": self._store.port,
            "patience": self._patience.total_seconds(),
        }
        return [f"--{name}={value}" for name, value in values.items()]


class _Helper:
    """A process, and the thread that starts it and waits for its end: the system ends it with that thread."""

    def __init__(self, arguments: list[str], on_end: Callable[[], None]) -> None:
        self._arguments, self._on_end = arguments, on_end
        self._started = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._live, name="card-helper", daemon=True)
        self._thread.start()
        self._started.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def tell(self, command: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        with suppress(BrokenPipeError, ValueError):  # it has ended, which `_live` sees
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _live(self) -> None:
        try:
            with (
                suppress(BrokenPipeError),
                subprocess.Popen(
                    [sys.executable, "-m", "wan_core.engine.cards.helper", *self._arguments],
                    cwd=APP_FOLDER,
                    env=settings.with_variables({}),
                    stdin=subprocess.PIPE,
                    encoding="utf-8",
                ) as self._process,
            ):
                self._started.set()
                self._process.wait()
        finally:
            self._started.set()
            self._on_end()


def _forward_command(name: str, expert: Any, tensors: list[torch.Tensor]) -> dict[str, Any]:
    attention = expert.blocks[0].attn1.processor._attention_backend
    return {
        "do": "forward",
        "expert": name,
        "attention": attention.value if attention else "native",
        "tensors": [[list(tensor.shape), rank.dtype_name(tensor)] for tensor in tensors],
    }
