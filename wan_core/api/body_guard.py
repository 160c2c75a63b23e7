"""What a request's body must keep to before any route sees it, Gradio's included: size, deadline, and what JSON is.

Plain ASGI. Pictures and submissions are counted as they stream by; every other body is small, read whole and judged
first, so that no parser behind this can be made to work for minutes or to repeat what it was sent.
"""

import asyncio
import contextlib
import json
import math
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_core.api.addressing import PREFIXES
from wan_core.api.bodies import parse, refuse_other_kinds
from wan_core.api.refusals import Refusal, error_response, http_refusal, refusal_response, too_large
from wan_core.errors import InputError
from wan_core.settings import Limits

PAGE = "/gradio_api/"
PAGE_UPLOAD = "/gradio_api/upload"
FORM_BYTES = 16_000  # around the one file of an upload
DRAIN_BYTES = 140_000_000  # a sender that is still sending would not hear the answer
DRAIN_DEADLINE_S = 60


@dataclass(frozen=True)
class BodyRule:
    """The most bytes of a body, the seconds until its last one, whether it streams on, and whether it must be JSON.

    `patience_s`: what it may take beyond the time that its bytes need at `min_bytes_per_s`.
    """

    max_bytes: int
    deadline_s: float
    patience_s: float = math.inf
    min_bytes_per_s: int = 1
    streams: bool = False
    is_json: bool = False

    def seconds_for(self, seen: int) -> float:
        """When the next bytes must be there, once `seen` have come."""
        return min(self.deadline_s, self.patience_s + seen / self.min_bytes_per_s)


class BodyGuard:
    """Refuses bodies that break the rule of their route: 413 too large, 408 too slow, 415 or 422 no JSON."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        rule = self._rule(scope["method"], scope["path"])
        body = GuardedBody(scope, receive, rule)
        if body.declared > rule.max_bytes:
            return await body.answer(too_large(rule.max_bytes), send)
        if rule.streams:
            return await StreamedBody(body, send).pass_to(self._app)
        try:
            whole = await body.read()
            if rule.is_json and whole:
                judge_json(Headers(scope=scope), whole)
        except ClientDisconnect:
            return
        except Refusal as refusal:
            return await body.answer(refusal, send)
        except InputError as error:
            return await error_response(error)(scope, receive, send)
        await self._app(scope, _replay(whole, receive), send)

    def _rule(self, method: str, path: str) -> BodyRule:
        limits = self._limits
        if path == PAGE_UPLOAD:
            return self._streaming(limits.max_upload_bytes + FORM_BYTES)
        if path.startswith("/cdn/"):
            return self._streaming(limits.max_upload_bytes)
        if path.startswith(("/run/", "/queue/")) and method == "POST":
            return self._streaming(limits.max_body_bytes)
        if path.startswith(PREFIXES):
            return BodyRule(limits.max_other_body_bytes, limits.small_body_deadline_s)
        return BodyRule(limits.max_page_body_bytes, limits.small_body_deadline_s, is_json=path.startswith(PAGE))

    def _streaming(self, max_bytes: int) -> BodyRule:
        limits = self._limits
        patience_s, rate = limits.small_body_deadline_s, limits.min_body_bytes_per_s
        return BodyRule(max_bytes, limits.body_deadline_s, patience_s, rate, streams=True)


class GuardedBody:
    """One request's body, counted and timed as it comes in."""

    def __init__(self, scope: Scope, receive: Receive, rule: BodyRule) -> None:
        self.scope, self._receive, self._rule = scope, receive, rule
        self._seen = 0
        self._ended = False
        self._began = asyncio.get_running_loop().time()
        length = Headers(scope=scope).get("content-length", "")
        self.declared = int(length) if length.isdecimal() and len(length) < 20 else 0

    async def read(self) -> bytes:
        """All of it. Raises Refusal, or ClientDisconnect."""
        chunks = []
        while not self._ended:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
        return b"".join(chunks)

    async def receive(self) -> Message:
        """The next message. Raises Refusal once the body is too large or too slow."""
        if self._ended:
            return await self._receive()
        seconds = self._rule.seconds_for(self._seen)
        try:
            async with asyncio.timeout_at(self._began + seconds):
                message = await self._next()
        except TimeoutError:
            raise http_refusal(408, f"The body did not arrive within {seconds:.3g} seconds.") from None
        if self._seen > self._rule.max_bytes:
            raise too_large(self._rule.max_bytes)
        return message

    async def answer(self, refusal: Refusal, send: Send) -> None:
        """Refuse the request, once its sender listens; the connection ends with the answer."""
        refusal.headers["connection"] = "close"
        if refusal.fault.word.status == 413 and self.declared <= DRAIN_BYTES:
            await self._drain()
        await refusal_response(refusal)(self.scope, self._receive, send)

    async def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_DEADLINE_S):
                while not self._ended and self._seen <= DRAIN_BYTES:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        self._ended = not message.get("more_body")
        return message


class StreamedBody:
    """A body that is passed on while it comes in. Once it is refused, the app behind is heard no more."""

    def __init__(self, body: GuardedBody, send: Send) -> None:
        self._body, self._send = body, send
        self._answered = self._refused = False

    async def pass_to(self, app: ASGIApp) -> None:
        try:
            await app(self._body.scope, self.receive, self.send)
        except Exception:
            if not self._refused:  # an app whose body broke off may complain; its visitor has the answer already
                raise

    async def receive(self) -> Message:
        if self._refused:
            return {"type": "http.disconnect"}
        try:
            return await self._body.receive()
        except Refusal as refusal:
            self._refused = True
            if not self._answered:
                await self._body.answer(refusal, self._send)
            return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self._answered = True
        if not self._refused:
            await self._send(message)


def judge_json(headers: Headers, body: bytes) -> None:
    """Nothing, if every parser reads `body` alike and cheaply.

    Raises:
        Refusal: 415 for another kind of body.
        InputError: at `body`, for what is no JSON, has too many parts, or text that cannot be written down.
    """
    refuse_other_kinds(headers)
    value = parse(body)
    if b"\\u" in body:
        refuse_broken_text(value)


def refuse_broken_text(value: object) -> None:
    """Raise InputError if a text in `value` holds half of a surrogate pair, which no answer could repeat."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError("body", "string_unicode", "The body contains a broken character.") from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives `body` in one message, then whatever else `receive` has."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
