"""The images that requests bring or name: base64, data URIs, URLs that are allowed, and files of Label Studio."""

import base64
import binascii
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from .pixels import content_key, decode
from .refusal import Refusal
from .services import PixelSource
from .settings import Limits

_FETCH_SECONDS = 30.0


def from_bytes(data: bytes, limits: Limits) -> PixelSource:
    """Return the image of an uploaded file, which is decoded when it is needed."""
    if not data:
        raise Refusal(422, "image: is empty")
    key = content_key(data)
    return PixelSource(key, lambda: decode(data, limits.pixels, key))


def from_text(text: str, limits: Limits) -> bytes:
    """Decode base64, with or without `data:...;base64,` before it.

    Raises:
        Refusal: it is not base64, or too long.
    """
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise Refusal(422, "image: expected data:...;base64, and base64")
    if len(text) > limits.upload_bytes * 4 // 3 + 4:
        raise Refusal(413, f"image: expected at most {limits.upload_bytes:,} bytes")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(422, "image: is not base64") from None


def is_allowed(url: str, allowed: Sequence[str]) -> bool:
    """Return whether a URL has an allowed beginning: the same scheme, host and port, and a path below its path."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if parts.username is not None or parts.password is not None or "\\" in url or any(ord(c) <= 32 for c in url):
        return False
    steps = unquote(unquote(parts.path)).split("/")
    if ".." in steps or "." in steps:
        return False
    for beginning in map(urlsplit, allowed):
        same = (parts.scheme, parts.hostname, port or _PORTS.get(parts.scheme)) == (
            beginning.scheme,
            beginning.hostname,
            beginning.port or _PORTS.get(beginning.scheme),
        )
        folder = beginning.path.rstrip("/")
        if same and (parts.path == folder or parts.path.startswith(folder + "/")):
            return True
    return False


_PORTS = {"http": 80, "https": 443}


class _AllowedRedirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, allowed: Sequence[str]):
        self._allowed = allowed

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not is_allowed(newurl, self._allowed):
            raise Refusal(422, "image: its URL leads to another one, which is not allowed")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            following.remove_header("Authorization")
        return following


def fetch(url: str, allowed: Sequence[str], limits: Limits, token: str | None = None) -> bytes:
    """Fetch an image, if its URL is allowed.

    Args:
        url: the URL.
        allowed: beginnings of URLs, see `is_allowed`.
        limits: bound on its bytes.
        token: of Label Studio, sent along.

    Raises:
        Refusal: it is not allowed, or cannot be fetched.
    """
    if not is_allowed(url, allowed):
        raise Refusal(422, "image: this URL is not fetched; start the server with --allow-url and its beginning")
    request = urllib.request.Request(url, headers={"Authorization": f"Token {token}"} if token else {})
    # No proxy, and no other scheme: what may be fetched is what the settings say.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        _AllowedRedirects(allowed),
    ):
        opener.add_handler(handler)
    ends, parts, size = time.monotonic() + _FETCH_SECONDS, [], 0
    try:
        with opener.open(request, timeout=_FETCH_SECONDS) as reply:
            while chunk := reply.read1(1 << 16):
                size += len(chunk)
                parts.append(chunk)
                if size > limits.upload_bytes:
                    raise Refusal(413, f"image: expected at most {limits.upload_bytes:,} bytes")
                if time.monotonic() > ends:
                    raise Refusal(422, f"image: did not arrive within {_FETCH_SECONDS:g} seconds")
    except urllib.error.HTTPError as error:
        raise Refusal(422, f"image: its server answered {error.code}") from None
    except (OSError, ValueError):
        raise Refusal(422, "image: its server does not answer") from None
    return b"".join(parts)


def label_studio_file(url: str, root: Path) -> Path | None:
    """Return the file of an upload or a local file of Label Studio.

    Args:
        url: /data/upload/... or /data/local-files/?d=..., with or without a host before it.
        root: Label Studio's data folder, or the folder of its local files.

    Returns:
        The file, which lies in the folder; None if there is none.
    """
    parts = urlsplit(url)
    if parts.path.startswith("/data/upload/"):
        name = unquote(parts.path.removeprefix("/data/"))
        names = [f"media/{name}", name]
    elif parts.path.startswith("/data/local-files"):
        names = parse_qs(parts.query).get("d", [""])[:1]
    else:
        return None
    root = Path(root).resolve()
    for name in names:
        if not name or "\0" in name:
            continue
        path = (root / name.lstrip("/")).resolve()
        if path.is_relative_to(root) and path.is_file():
            return path
    return None
