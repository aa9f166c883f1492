"""Bounds on the bodies of requests: bytes of one, bytes of all, and the time in which one must arrive."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .replies import RETRY_SECONDS, Refusal
from .settings import Limits


class BodyLimits:
    """Refuse bodies that are too large or too slow, as early as it is known.

    Args:
        app: the application.
        limits: the bounds.

    Attributes:
        bytes: of bodies that are held now.
    """

    def __init__(self, app: ASGIApp, limits: Limits):
        self.app, self._limits, self.bytes = app, limits, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > self._limits.upload_bytes:
            await _reply(self._too_large(), scope, receive, send)
            return
        held, ends, complete = 0, time.monotonic() + self._limits.body_seconds, False

        async def limited() -> Message:
            nonlocal held, complete
            if complete:  # what comes now is the end of the connection, whenever that is
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - time.monotonic()))
            except TimeoutError:
                raise Refusal(408, f"the body did not arrive within {self._limits.body_seconds:g} seconds") from None
            size = len(message.get("body", b""))
            held += size
            self.bytes += size
            complete = not message.get("more_body", False)
            if held > self._limits.upload_bytes:
                raise self._too_large()
            if self.bytes > self._limits.waiting_bytes:
                raise Refusal(503, "the server holds as many uploads as it can; try again")
            return message

        started, has_body = False, stated not in ("", "0") or "transfer-encoding" in headers

        async def noting(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and has_body and not complete:
                # The rest of the body is not read, so the connection cannot be used again.
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            started = True
            await send(message)

        try:
            await self.app(scope, limited, noting)
        except Refusal as refusal:  # where no handler was in between
            if started:
                raise
            await _reply(refusal, scope, receive, send)
        finally:
            self.bytes -= held

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the body is too large; expected at most {self._limits.upload_bytes:,} bytes")


async def _reply(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"Retry-After": str(RETRY_SECONDS)} if refusal.status_code == 503 else {}
    reply = JSONResponse({"detail": refusal.detail}, refusal.status_code, {**headers, "Connection": "close"})
    await reply(scope, receive, send)
