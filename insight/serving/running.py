"""Run a server until a signal stops it."""

import errno
import logging
import socket
import threading
import time
import webbrowser

import uvicorn

from .app import create_app
from .logs import JsonLines, access_logger
from .settings import Settings, is_loopback

_GRACE_SECONDS = 30
_TAKEN = "port {} of {} cannot be opened; is another server running there?"


def serve(settings: Settings, open_browser: bool = False, show_token: bool = True) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that were accepted are finished, and results written.

    Args:
        settings: what to serve, and how.
        open_browser: show the page in a browser once the server answers.
        show_token: print the address with the token, for a browser to open.

    Raises:
        InsightError: the models, the images or the annotations cannot be used.
        OSError: the address is taken, or a file cannot be written.
    """
    _require_free(settings.host, settings.port)  # before models are read
    app = create_app(settings)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for logger in (logging.getLogger("insight.serving"), logging.getLogger("uvicorn.error")):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    access_logger.setLevel(logging.INFO)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        h11_max_incomplete_event_size=64 << 10,
    )
    server = uvicorn.Server(config)
    address = f"http://{'localhost' if is_loopback(settings.host) else settings.host}:{settings.port}/"
    with_token = address + (f"?token={settings.token}" if settings.token else "")
    print(with_token if show_token else address, flush=True)
    if open_browser:
        threading.Thread(target=_open_when_started, args=(server, with_token), daemon=True).start()
    server.run()
    if not server.started:
        raise OSError(_TAKEN.format(settings.port, settings.host))


def _require_free(host: str, port: int) -> None:
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn's own
                probe.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:  # localhost without IPv6, over which asyncio passes
            raise OSError(_TAKEN.format(port, host)) from error


def _open_when_started(server: uvicorn.Server, address: str) -> None:
    while not server.started and not server.should_exit:
        time.sleep(0.05)
    if server.started:
        webbrowser.open(address)
