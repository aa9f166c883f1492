"""Settings of a server."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from insight.errors import InputError

if TYPE_CHECKING:  # torch comes with it
    from insight.annotation.sources import Source

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds on what a client may ask and on what the server holds.

    Attributes:
        upload_bytes: largest body of a request.
        waiting_bytes: bodies of all requests together.
        pixels: largest uploaded image, and the largest served one that is decoded whole, width times height.
        prompts: boxes and points of a request.
        vertices: corners of the outlines of an object that is stored.
        queue: requests that wait for the model.
        seconds: time from a request's body to its answer.
        body_seconds: time in which a body must arrive.
        image_cache_bytes, crop_cache_bytes, tile_cache_bytes: decoded images, encoded crops and tiles that are kept.
    """

    upload_bytes: int = 64 * MIB
    waiting_bytes: int = 256 * MIB
    pixels: int = 50_000_000
    prompts: int = 1000
    vertices: int = 200_000
    queue: int = 64
    seconds: float = 60.0
    body_seconds: float = 60.0
    image_cache_bytes: int = 512 * MIB
    crop_cache_bytes: int = 256 * MIB
    tile_cache_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(f"{name}: expected a number above 0, got {value}")


@dataclass(frozen=True)
class Settings:
    """A server.

    Attributes:
        sources: folders and image files to serve; none for a server of predictions alone.
        models: names or folders of models, see `insight.hub.find`; those of kind "sopseg" answer prompts, those of kind
            "detector" find objects. The first of a kind is its default.
        device: device of the models; None for a GPU if there is one.
        host, port: address to listen on.
        token: what clients must present; None for none, which only a loopback address allows.
        allowed_hosts: further names by which clients reach the server, such as that of a reverse proxy.
        allowed_urls: beginnings of URLs whose images may be fetched; none: no URL is.
        label_studio_root: Label Studio's data folder, if its uploads and local files are to be read from disk.
        results: folder of `insight annotate`, whose masks are read and written.
        boxes: boxes of label files, which become candidates of the page.
        store: database of the annotations; None for .insight/annotations.sqlite in the served folder.
        limits: bounds.

    Raises:
        InputError: another host than this machine without a token, or a malformed value.
    """

    sources: Sequence[str] = ()
    models: Sequence[str] = ("sopseg-vit-t",)
    device: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allowed_hosts: Sequence[str] = ()
    allowed_urls: Sequence[str] = ()
    label_studio_root: Path | None = None
    results: Path | None = None
    boxes: "Source | None" = None
    store: Path | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and not self.token:
            raise InputError(
                f"host: {self.host} is reachable by other machines, which needs a token; set one, of 16 characters or "
                "more"
            )
        if self.token is not None and (len(self.token) < 16 or not self.token.isascii() or " " in self.token):
            raise InputError("token: expected 16 ASCII characters or more, without spaces")
        for url in self.allowed_urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
                raise InputError(f"allow_url: expected http(s)://host/path, the beginning of URLs, got {url!r:.200}")
        for name in ("results", "store"):
            if getattr(self, name) is not None and not self.sources:
                raise InputError(f"{name}: is of served images; expected a folder or image file to serve, got none")
        if self.label_studio_root is not None and not Path(self.label_studio_root).is_dir():
            raise InputError(f"label_studio_root: {self.label_studio_root}: no such folder")


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
