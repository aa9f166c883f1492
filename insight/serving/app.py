"""The application: routes, and what they share."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from insight.version import __version__

from .bodies import BodyLimits
from .byte_cache import ByteCache
from .guard import Guard
from .label_boxes import import_boxes
from .library import Library
from .logs import AccessLog
from .metrics import Metrics
from .models import Models
from .replies import add_handlers
from .results_folder import export_results, import_results
from .routes import export, health, images, label_studio, models, objects, predict
from .services import Services
from .settings import Settings
from .store import Store
from .worker import Worker

STATIC = Path(__file__).resolve().parent / "static"
STORE = Path(".insight") / "annotations.sqlite"  # in the served folder


def create_app(settings: Settings) -> FastAPI:
    """Make the application of a server: it loads the model and opens the annotations.

    Args:
        settings: what to serve, and how.

    Returns:
        The application, for any ASGI server of one process. When its lifespan ends, it answers what waits and closes
        the annotations.

    Raises:
        InsightError, OSError: an unknown model, no images, or annotations that cannot be opened.
    """
    shared = _services(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        shared.worker.stop()
        if shared.store is not None:
            if settings.results is not None:
                export_results(settings.results, shared.library, shared.store)
            shared.store.close()

    app = FastAPI(
        title="insight",
        version=__version__,
        summary="Masks from boxes, oriented boxes and points in remote sensing images.",
        lifespan=lifespan,
        docs_url=None,  # its page comes from another server
        redoc_url=None,
    )
    app.state.services = shared
    add_handlers(app)
    for module in (health, models, predict, images, objects, export, label_studio):
        app.include_router(module.router)
    if (STATIC / "index.html").is_file():
        app.mount("/", StaticFiles(directory=STATIC, html=True), name="page")
    app.add_middleware(BodyLimits, limits=settings.limits)  # the last that is added sees a request first
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(AccessLog, metrics=shared.metrics)
    return app


def _services(settings: Settings) -> Services:
    limits = settings.limits
    library = Library(settings.sources, limits)
    metrics = Metrics()
    store = None
    with ExitStack() as stack:
        if library.root is not None:  # before models are read, which takes seconds
            store = Store(settings.store or library.root / STORE)
            stack.callback(store.close)
            if settings.results is not None:
                import_results(settings.results, library, store)
            if settings.boxes is not None:
                import_boxes(settings.boxes, library, store)
        models = Models(settings.models, settings.device, limits.crop_cache_bytes)
        stack.pop_all()
    worker = Worker(limits.queue, limits.seconds, metrics.batch)
    tiles: ByteCache[bytes] = ByteCache(limits.tile_cache_bytes)
    caches = {"image": [library.decoded], "tile": [tiles], "crop": None}
    for name, given in caches.items():

        def current(given=given) -> list[ByteCache]:
            return [segmenter.crops for segmenter in models.segmenters] if given is None else given

        for field in ("bytes", "hits", "misses"):

            def total(current=current, field=field) -> float:
                return sum(getattr(cache, field) for cache in current())

            metrics.gauge(f"insight_{name}_cache_{field}", f"Cache of {name}s: {field}.", total)
    metrics.gauge("insight_queue_requests", "Requests that wait for the model.", lambda: worker.waiting)
    return Services(settings, library, store, models, worker, metrics, tiles)
