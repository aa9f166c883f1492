"""Who may ask: the token, the Host header against DNS rebinding, and the origin against requests of other sites."""

import base64
import binascii
import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .settings import Settings, is_loopback

_OPEN = ("/health",)  # what a load balancer asks without a token
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    b"worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}


class Guard:
    """Let those requests pass that the settings allow; the others get one sentence. It reads no body.

    A token is taken as `Authorization: Bearer`, as the password of `Authorization: Basic` (Label Studio), as the header
    `Token` (X-AnyLabeling), or from the cookie that opening /?token=... in a browser sets.

    Args:
        app: the application.
        settings: of the server.
    """

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app, self._token = app, settings.token
        self._hosts = {"localhost", "127.0.0.1", "::1", settings.host.strip("[]").lower()}
        self._hosts |= {host.lower() for host in settings.allowed_hosts}
        # Under a public address the token, which a page of another name does not have, does the work.
        self._any_host = not is_loopback(settings.host) and not settings.allowed_hosts
        self._cookie = f"insight_{settings.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
            return
        await self.app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: Headers):
        host = headers.get("host", "")
        if not self._any_host and _hostname(host) not in self._hosts:
            return _sentence(403, "the Host header names another server; add --allow-host to allow it")
        if _is_cross_site(scope["method"], host, headers):
            return _sentence(403, "requests from other sites are not allowed")
        if self._token is None or scope["path"] in _OPEN:
            return None
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if scope["method"] == "GET" and scope["path"] == "/" and "token" in query:
            if not _equal(query["token"][0], self._token):
                return _sentence(401, "the token is wrong")
            entered = RedirectResponse("/", 303)
            entered.set_cookie(self._cookie, self._session(), httponly=True, samesite="strict", path="/")
            return entered
        if self._is_known(headers):
            return None
        reply = _sentence(401, "a token is needed: as Authorization: Bearer, or open /?token=... in a browser")
        reply.headers["WWW-Authenticate"] = "Bearer"
        return reply

    def _is_known(self, headers: Headers) -> bool:
        assert self._token is not None
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return _equal(value.strip(), self._token)
        if kind.lower() == "basic":
            try:
                _, _, password = base64.b64decode(value, validate=True).decode("latin-1").partition(":")
            except (binascii.Error, ValueError):
                return False
            return _equal(password, self._token)
        if headers.get("token"):
            return _equal(headers["token"], self._token)
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and _equal(cookie.value, self._session())

    def _session(self) -> str:
        """The cookie's value: made of the token, which it does not give away."""
        assert self._token is not None
        return hmac.new(self._token.encode(), b"insight session", hashlib.sha256).hexdigest()


def _is_cross_site(method: str, host: str, headers: Headers) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return not (method in _SAFE and headers.get("sec-fetch-mode") == "navigate")
    return method not in _SAFE and origin is not None and urlsplit(origin).netloc.lower() != host.lower()


def _hostname(host: str) -> str:
    if not set(host).isdisjoint("@/\\?#"):
        return ""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _sentence(status: int, text: str) -> JSONResponse:
    return JSONResponse({"detail": text}, status)


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(pair for pair in _HEADERS.items() if pair[0] not in present)]
        await send(message)

    return with_headers
