"""Bounds on the bodies of requests, and an end to the work for clients that have hung up."""

import asyncio
import contextlib
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .refusal import RETRY_SECONDS, Refusal
from .settings import Limits


class BodyLimits:
    """Refuse bodies that are too large or too slow, as early as it is known; cancel what nobody waits for any more.

    Args:
        app: the application.
        limits: the bounds.

    Attributes:
        bytes: of bodies that are held now.
    """

    def __init__(self, app: ASGIApp, limits: Limits):
        self.app, self.limits, self.bytes = app, limits, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > self.limits.upload_bytes:
            await _reply(_too_large(self.limits), scope, receive, send)
            return
        has_body = stated not in ("", "0") or "transfer-encoding" in headers
        exchange = _Exchange(self, receive, send, has_body)
        answering = asyncio.ensure_future(self.app(scope, exchange.receive, exchange.send))
        watching = asyncio.ensure_future(exchange.cancel_when_left(answering))
        try:
            await answering
        except asyncio.CancelledError:
            if not exchange.left.is_set():  # the server is stopping
                answering.cancel()
                raise
        except Refusal as refusal:  # where no handler was in between
            if exchange.started:
                raise
            await _reply(refusal, scope, receive, send)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            self.bytes -= exchange.held


class _Exchange:
    """One request: its body as it arrives, and the beginning of its answer."""

    def __init__(self, all_bodies: BodyLimits, receive: Receive, send: Send, has_body: bool):
        self._all, self._receive, self._send, self._has_body = all_bodies, receive, send, has_body
        self._ends = time.monotonic() + all_bodies.limits.body_seconds
        self._complete = asyncio.Event()
        self.left, self.started, self.held = asyncio.Event(), False, 0

    async def receive(self) -> Message:
        limits = self._all.limits
        if self._complete.is_set():
            await self.left.wait()
            return {"type": "http.disconnect"}
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._ends - time.monotonic()))
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {limits.body_seconds:g} seconds") from None
        size = len(message.get("body", b""))
        self.held += size
        self._all.bytes += size
        if message["type"] == "http.disconnect":
            self.left.set()
        if not message.get("more_body", False):
            self._complete.set()
        if self.held > limits.upload_bytes:
            raise _too_large(limits)
        if self._all.bytes > limits.waiting_bytes:
            raise Refusal(503, "the server holds as many uploads as it can; try again")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._has_body and not self._complete.is_set():
            # The rest of the body is not read, so the connection cannot be used again.
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        self.started = True
        await self._send(message)

    async def cancel_when_left(self, answering: asyncio.Future) -> None:
        """Wait until the client hangs up, and cancel what it does not wait for any more."""
        await self._complete.wait()
        while not self.left.is_set():
            if (await self._receive())["type"] == "http.disconnect":
                self.left.set()
        if not self.started:
            answering.cancel()


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the body is too large; expected at most {limits.upload_bytes:,} bytes")


async def _reply(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"Retry-After": str(RETRY_SECONDS)} if refusal.status_code == 503 else {}
    reply = JSONResponse({"detail": refusal.detail}, refusal.status_code, {**headers, "Connection": "close"})
    await reply(scope, receive, send)
