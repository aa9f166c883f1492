"""`insight serve`."""

import argparse
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from insight.errors import MissingDependencyError
from insight.hub import DEFAULT_DETECTOR, DEFAULT_SOPSEG, detector_works, find
from insight.runtime.inputs import check_input
from insight.runtime.machine import check_device_name
from insight.runtime.outputs import check_output_file, check_output_folder
from insight.serving.settings import MIB, Limits, Settings

from .options import add_command, add_device, integer

_PACKAGES = ("fastapi", "starlette", "pydantic", "uvicorn", "prometheus_client")


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "serve",
        run,
        "Serve masks over HTTP: the page, an API, Label Studio and X-AnyLabeling",
        (
            "serve images/",
            "serve port.tif --model sopseg-vit-t --model scenes-light --port 8000",
            "serve images/ --results masks",
            "serve --label-studio-root ~/.local/share/label-studio",
        ),
        "Listens only on this machine by default; any other --host needs a token. Annotations are kept in\n"
        ".insight/annotations.sqlite in the folder. Ctrl-C or SIGTERM finishes open requests and stops.",
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="folders and image files to serve (default: none)")
    model = parser.add_argument_group("models")
    model.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="NAME",
        help="name or folder of a model, see `insight models`; repeatable (default: sopseg-vit-t for prompts, and "
        "scenes-light, which finds objects, where Detectron2 and timm are installed)",
    )
    add_device(model, "cuda if there is a GPU")
    address = parser.add_argument_group("address and access")
    address.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    address.add_argument("--port", type=integer(1, 65535), default=8000, help="(default: %(default)s)")
    address.add_argument(
        "--token",
        nargs="?",
        const="",
        metavar="TEXT",
        help="token that clients must send; without TEXT, a new one is made and printed. INSIGHT_TOKEN sets it too, "
        "without showing it in the list of processes or printing it",
    )
    address.add_argument(
        "--allow-host", dest="allowed_hosts", action="append", default=[], metavar="NAME",
        help="another name by which clients reach the server; repeatable",
    )  # fmt: skip
    address.add_argument(
        "--allow-url", dest="allowed_urls", action="append", default=[], metavar="PREFIX",
        help="fetch images whose URL begins with this; repeatable (default: none is fetched)",
    )  # fmt: skip
    data = parser.add_argument_group("data")
    data.add_argument(
        "--label-studio-root", type=Path, metavar="DIR", help="Label Studio's data folder, read from disk"
    )
    data.add_argument(
        "--results", type=Path, metavar="DIR", help="results of `insight annotate` to start from, and to write"
    )
    data.add_argument("--store", type=Path, metavar="FILE", help="database (default: .insight/ in the served folder)")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-upload", type=integer(1), metavar="MIB", help="body of a request (default: 64 MiB)")
    limits.add_argument("--max-pixels", type=integer(1), metavar="N", help="of an uploaded image (default: 50 million)")
    limits.add_argument("--max-waiting", type=integer(1), metavar="N", help="requests that wait (default: 64)")
    limits.add_argument("--timeout", type=integer(1), metavar="S", help="seconds for an answer (default: 60)")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    settings = _settings(args)
    for source in settings.sources:
        check_input(source, kind="file or folder")
    for name in settings.models:
        find(name)
    check_device_name(args.device)
    if settings.results is not None:
        check_output_folder(settings.results, "results")
    if settings.store is not None:
        check_output_file(settings.store, "store")
    # A token of the environment is in the logs of a container otherwise.
    server("serve")(settings, show_token=args.token is not None)


def server(argument: str) -> Callable[..., None]:
    """Return `insight.serving.running.serve`.

    Args:
        argument: what needs it, for the error.

    Raises:
        MissingDependencyError: a package of the extra `serve` is not installed.
    """
    try:
        from insight.serving.running import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise MissingDependencyError(
            f"{argument}: {error.name} is not installed; run `pip install 'insight-seg[serve]'`"
        ) from error
    return serve


def _settings(args: argparse.Namespace) -> Settings:
    given = {
        "upload_bytes": args.max_upload and args.max_upload * MIB,
        "pixels": args.max_pixels,
        "queue": args.max_waiting,
        "seconds": args.timeout,
    }
    token = os.environ.get("INSIGHT_TOKEN") if args.token is None else args.token or secrets.token_urlsafe(24)
    return Settings(
        sources=args.sources,
        models=args.models or default_models(),
        device=args.device or None,
        host=args.host,
        port=args.port,
        token=token or None,
        allowed_hosts=args.allowed_hosts,
        allowed_urls=args.allowed_urls,
        label_studio_root=args.label_studio_root,
        results=args.results,
        store=args.store,
        limits=Limits(**{name: value for name, value in given.items() if value is not None}),
    )


def default_models() -> list[str]:
    """The default models: one for prompts and, where it works, one that finds objects."""
    return [DEFAULT_SOPSEG, DEFAULT_DETECTOR] if detector_works() else [DEFAULT_SOPSEG]
