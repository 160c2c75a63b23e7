"""Honours each press of a button that starts a job once: a double click or a repeated request gets the first answer.

The browser names a press (`presses.js`). The name is untrusted: it only ever finds answers of the same client.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

KEPT = 1000
MAX_NAME_CHARS = 64


class Presses:
    """The answers to the last presses, by client and name."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], asyncio.Future[Any]] = OrderedDict()

    async def once(self, client: str, press: object, start: Callable[[], Awaitable[Any]]) -> Any:
        """What `start` returns, called once for each press. A press that failed may be tried again.

        A press without a usable name always starts.
        """
        if not isinstance(press, str) or not 0 < len(press) <= MAX_NAME_CHARS:
            return await start()
        key = (client, press)
        if key not in self._answers:
            self._answers[key] = asyncio.ensure_future(start())
            self._forget_old()
        answer = self._answers[key]
        try:
            return await asyncio.shield(answer)
        except BaseException:
            if answer.done() and self._answers.get(key) is answer:
                del self._answers[key]
            raise

    def _forget_old(self) -> None:
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)
