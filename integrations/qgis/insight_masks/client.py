"""Requests to an insight server, with the standard library alone. Needs no QGIS."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 120.0  # for an answer
_TRIES = 6  # of a request that the server is too busy for
_LONGEST_WAIT = 10.0  # seconds between them


class ServerError(Exception):
    """The server does not answer, or refuses; the message says why."""


class Cancelled(Exception):
    """The user has cancelled."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to another server."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None


class Client:
    """A server.

    Args:
        url: its address, such as http://localhost:8000.
        token: what it was started with; "" for none.
        cancelled: says whether to stop waiting.

    Raises:
        ServerError: the address is malformed.
    """

    def __init__(self, url: str, token: str = "", cancelled: Callable[[], bool] = lambda: False):
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerError(f"Server: expected an address such as http://localhost:8000, got {url!r}")
        if not token.isascii() or any(ord(letter) <= 32 for letter in token):
            raise ServerError("Token: expected ASCII characters without spaces")
        self.url, self._token, self._cancelled = url.strip().rstrip("/"), token, cancelled
        handlers: list[Any] = [_NoRedirects]
        if parts.hostname in ("localhost", "127.0.0.1", "::1"):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def predict(self, image: bytes, request: dict[str, Any]) -> list[dict[str, Any]]:
        """Ask for masks.

        Args:
            image: a PNG.
            request: the other fields of `POST /v1/predict`, in pixels of the image.

        Returns:
            The instances: of prompts in their order, else those that were found.

        Raises:
            ServerError: it does not answer, or refuses.
            Cancelled: the user does not want to wait.
        """
        body, kind = multipart(image, request)
        answer = self._send(urllib.request.Request(f"{self.url}/v1/predict", body, {"Content-Type": kind}))
        instances = answer.get("instances") if isinstance(answer, dict) else None
        if not isinstance(instances, list):
            raise ServerError(f"{self.url} is not an insight server")
        return instances

    def _send(self, request: urllib.request.Request) -> Any:
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        for attempt in range(_TRIES):
            if self._cancelled():
                raise Cancelled
            try:
                with self._opener.open(request, timeout=_SECONDS) as reply:
                    return json.loads(reply.read().decode())
            except urllib.error.HTTPError as error:
                if error.code != 503 or attempt == _TRIES - 1:
                    raise ServerError(self._refusal(error)) from error
                self._wait(error.headers.get("Retry-After", ""))
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", error)
                raise ServerError(f"{self.url} does not answer ({reason}); is `insight serve` running?") from error
        raise AssertionError

    def _wait(self, stated: str) -> None:
        ends = time.monotonic() + min(float(stated) if stated.isdecimal() else 1.0, _LONGEST_WAIT)
        while time.monotonic() < ends:
            if self._cancelled():
                raise Cancelled
            time.sleep(0.05)

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        try:
            detail = json.loads(error.read().decode())["detail"]
        except (ValueError, KeyError, TypeError, OSError):
            detail = error.reason
        if error.code == 401:
            detail = "a token is needed, or it is wrong; see Settings > Options > Processing > Providers > Insight"
        return f"{self.url} answers {error.code}: {detail}"


def multipart(image: bytes, request: dict[str, Any]) -> tuple[bytes, str]:
    """Write the body of a request.

    Args:
        image: a PNG.
        request: the other fields.

    Returns:
        The body, and its content type.
    """
    boundary = uuid.uuid4().hex
    text = json.dumps(request, allow_nan=False)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="request"\r\n\r\n{text}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="window.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return head.encode() + image + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
