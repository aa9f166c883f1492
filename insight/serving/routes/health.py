"""Whether the server is up, and what it counts."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from insight.version import __version__

from ..services import Shared

router = APIRouter(tags=["health"])


@router.get("/health")
async def health(shared: Shared) -> dict[str, Any]:
    """Say that the server is up. Needs no token. Label Studio and X-AnyLabeling ask it too."""
    return {
        "status": "UP",
        "version": __version__,
        "model_class": "insight",
        "models_loaded": len(shared.models.segmenters),
        "waiting": shared.worker.waiting,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@router.get("/metrics", response_class=Response)
async def metrics(shared: Shared) -> Response:
    """Return counters and gauges in Prometheus' text format."""
    text = await asyncio.to_thread(shared.metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
