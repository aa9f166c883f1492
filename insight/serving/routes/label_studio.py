"""The protocol of Label Studio's machine learning backends."""

import asyncio
import logging
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from insight.errors import InsightError
from insight.version import __version__

from ..images_of_requests import fetch, from_bytes, from_text, label_studio_file
from ..label_studio import Project, read_config, to_objects, to_regions
from ..refusal import Refusal
from ..schemas import examples
from ..segmenter import Mask
from ..services import PixelSource, Services, Shared

router = APIRouter(tags=["label studio"])
_logger = logging.getLogger(__name__)
_MOST_PROJECTS = 1000
_CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image" smart="true"><Label '
    'value="ship"/></RectangleLabels><BrushLabels name="mask" toName="image"><Label value="ship"/></BrushLabels></View>'
)
_RECTANGLE = {
    "type": "rectanglelabels",
    "original_width": 800,
    "original_height": 600,
    "value": {"x": 30, "y": 20, "width": 40, "height": 25, "rotation": 20, "rectanglelabels": ["ship"]},
}


class SetupRequest(BaseModel):
    """What Label Studio says of itself when a backend is connected."""

    model_config = examples({"project": "1.1764460000", "schema": _CONFIG, "hostname": "http://localhost:8080"})

    project: str | int | None = None
    schema_: str = Field("", alias="schema")
    hostname: str = ""
    access_token: str = ""


class Task(BaseModel):
    """A task; `data` has the image, `annotations` and `predictions` may have rectangles."""

    id: int | str | None = None
    data: dict[str, Any] = {}
    annotations: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []


class Parameters(BaseModel):
    """Of a prediction; `context` has the regions that a user has just drawn."""

    context: dict[str, Any] | None = None


class LabelStudioRequest(BaseModel):
    """Tasks to predict."""

    model_config = examples(
        {
            "tasks": [{"id": 7, "data": {"image": "/data/upload/1/harbour.png"}}],
            "project": "1.1764460000",
            "label_config": _CONFIG,
            "params": {"context": {"result": [_RECTANGLE]}},
        }
    )

    tasks: list[Task] = Field(max_length=1000)
    project: str | int | None = None
    label_config: str = ""
    params: Parameters | None = None


@router.post("/setup")
async def setup(asked: SetupRequest, shared: Shared) -> dict[str, Any]:
    """Take note of where Label Studio is, and answer with the version of the model."""
    if asked.schema_:
        read_config(asked.schema_)
    known = shared.label_studios
    if len(known) >= _MOST_PROJECTS:
        known.pop(next(iter(known)))
    known[_project_id(asked.project)] = (asked.hostname.rstrip("/"), asked.access_token)
    return {"model_version": _version(shared)}


@router.post("/predict")
async def predict(asked: LabelStudioRequest, shared: Shared) -> dict[str, Any]:
    """Answer the regions of a context, or of whole tasks: their rectangles, else what a detector finds.

    Of several tasks, one whose image cannot be used gets no regions; of one, its error is answered.
    """
    project = read_config(asked.label_config)
    context = asked.params.context if asked.params is not None else None
    given = (context or {}).get("result") or None
    results = []
    for task in asked.tasks:
        try:
            results.append(await _predict(shared, project, task, given, asked.project))
        except (Refusal, InsightError, OSError):
            if len(asked.tasks) == 1:
                raise
            _logger.warning(f"task {task.id} cannot be predicted", exc_info=True)
            results.append({"result": [], "score": 0.0, "model_version": _version(shared)})
    return {"results": results, "model_version": _version(shared)}


@router.post("/webhook", status_code=201)
async def webhook(shared: Shared) -> dict[str, Any]:
    """Accept an event; the model does not learn from it."""
    return {"result": {}, "status": "ok", "model_version": _version(shared)}


async def _predict(
    shared: Services, project: Project, task: Task, given: list[dict] | None, project_id: str | int | None
) -> dict[str, Any]:
    source = await _image(shared, task, project.field, project_id)
    regions = given if given is not None else _rectangles(task)
    found: list[tuple[Mask, str | None]] = []
    if regions:
        model = shared.models.choose("sopseg")
        size = await _size(shared, source, regions)
        objects = to_objects(regions, size)
        if objects:
            masks, _ = await shared.segment(model, source, [one.prompt for one in objects])
            found = [(mask, one.label) for mask, one in zip(masks, objects)]
    elif shared.models.has("detector"):
        detected, _ = await shared.detect(shared.models.choose("detector"), source)
        labels = project.control.labels
        found = [
            (Mask(code, score), label)
            for label, score, code, _ in detected
            if code is not None and (label in labels or len(labels) == 1)
        ]
    result = await asyncio.to_thread(lambda: [r for mask, label in found for r in to_regions(mask, project, label)])
    scores = [mask.score for mask, _ in found]
    mean = sum(scores) / len(scores) if scores else 0.0
    return {"result": result, "score": round(mean, 4), "model_version": _version(shared)}


def _rectangles(task: Task) -> list[dict]:
    """Of its last annotation that has any, else of its last prediction."""
    for group in (task.annotations, task.predictions):
        for one in reversed(group):
            regions = [r for r in one.get("result") or [] if str(r.get("type", "")).startswith("rectangle")]
            if regions and not one.get("was_cancelled"):
                return regions
    return []


async def _size(shared: Services, source: PixelSource, regions: list[dict]) -> tuple[int, int]:
    """(height, width): the regions say it; else the image is decoded."""
    try:
        return int(regions[0]["original_height"]), int(regions[0]["original_width"])
    except (KeyError, TypeError, ValueError):
        return (await asyncio.to_thread(source)).size


async def _image(shared: Services, task: Task, field: str, project_id: str | int | None) -> PixelSource:
    value = task.data.get(field)
    if not isinstance(value, str) or not value:
        raise Refusal(422, f"tasks: expected an image in data.{field}")
    limits, settings = shared.settings.limits, shared.settings
    if value.startswith("data:"):
        return await asyncio.to_thread(lambda: from_bytes(from_text(value, limits), limits))
    if settings.label_studio_root is not None:
        path = await asyncio.to_thread(label_studio_file, value, settings.label_studio_root)
        if path is not None:
            return await asyncio.to_thread(_from_file, path, settings.limits.upload_bytes, limits)
    host, token = shared.label_studios.get(_project_id(project_id), ("", ""))
    is_own = value.startswith("/") or (bool(host) and value.startswith(f"{host}/"))
    url = host + value if value.startswith("/") else value
    if not url.startswith(("http://", "https://")):
        raise Refusal(
            422,
            "image: is a file of Label Studio; start the server with --label-studio-root, its data folder, or with "
            "--allow-url and its address",
        )
    data = await asyncio.to_thread(fetch, url, settings.allowed_urls, limits, token if is_own and token else None)
    return await asyncio.to_thread(from_bytes, data, limits)


def _from_file(path, most: int, limits) -> PixelSource:
    if path.stat().st_size > most:
        raise Refusal(413, f"image: expected at most {most:,} bytes")
    return from_bytes(path.read_bytes(), limits)


def _project_id(project: str | int | None) -> str:
    """Label Studio adds the time of creation behind a point."""
    return str(project or "").partition(".")[0]


def _version(shared: Services) -> str:
    return f"insight-{__version__}-{next(iter(shared.models.folders), 'none')}"
