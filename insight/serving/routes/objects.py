"""The objects of an image: proposed by the model, stored, changed and removed."""

import asyncio
import re
import time
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response

from ..outlines import check_rings, mask_outline
from ..refusal import Refusal
from ..schemas import DetectRequest, NewObject, ObjectContent, Segmented, SegmentRequest, StoredObject
from ..segmenter import Prompt
from ..services import Services, Shared

router = APIRouter(prefix="/api/images/{image_id}", tags=["objects"])
IfMatch = Annotated[str | None, Header(description="revision of the object that was seen")]


@router.post("/segment")
async def segment(image_id: str, asked: SegmentRequest, shared: Shared) -> Segmented:
    """Segment one object; nothing is stored. Another point in the same box costs a decoding only."""
    start = time.monotonic()
    image = shared.library.find(image_id)
    model = shared.models.choose("sopseg", asked.model)
    prompt = Prompt(asked.box, asked.oriented_box, asked.points, asked.labels)
    masks, _ = await shared.segment(model, shared.served(image), [prompt])
    rings = mask_outline(masks[0].code, asked.simplify)
    ms = (time.monotonic() - start) * 1000
    return Segmented(polygons=rings, score=min(1.0, max(0.0, masks[0].score)), ms=round(ms, 1))


@router.post("/detect", response_model=list[StoredObject])
async def detect(image_id: str, asked: DetectRequest, shared: Shared) -> Response:
    """Find objects and store them as candidates, in place of the candidates of an earlier detection."""
    image, store = shared.library.find(image_id), shared.require_store()
    model = shared.models.choose("detector", asked.model)

    found, _ = await shared.detect(model, shared.served(image))
    contents = [
        {
            "class": name,
            "box": box,
            "oriented_box": None,
            "points": [],
            "labels": [],
            "polygons": [] if code is None else mask_outline(code, asked.simplify),
            "score": round(score, 5),
            "source": "detector",
            "state": "candidate",
        }
        for name, score, code, box in found
        if asked.class_name in (None, name)
    ]
    return JSONResponse(await asyncio.to_thread(store.add_all, image.id, contents, "candidate"))


@router.get("/objects", response_model=list[StoredObject])
async def list_objects(image_id: str, shared: Shared) -> Response:
    """List the objects of an image, in the order in which they were last changed."""
    image, store = shared.library.find(image_id), shared.require_store()
    return JSONResponse(await asyncio.to_thread(store.objects, image.id))


@router.post("/objects", status_code=201, response_model=StoredObject)
async def add_object(image_id: str, new: NewObject, shared: Shared) -> Response:
    """Store an object. It is on disk when the answer comes. The same id with the same content answers 200."""
    image, store = shared.library.find(image_id), shared.require_store()
    content = _content(new, shared)
    stored, is_new = await asyncio.to_thread(store.add, image.id, content, new.id)
    return _reply(stored, 201 if is_new else 200)


@router.put("/objects/{object_id}", response_model=StoredObject)
async def change_object(
    image_id: str, object_id: str, changed: ObjectContent, shared: Shared, if_match: IfMatch = None
) -> Response:
    """Change an object whose revision is that of If-Match; else answer 409 with the object as it is in `current`."""
    image, store = shared.library.find(image_id), shared.require_store()
    revision, content = _revision(if_match), _content(changed, shared)
    return _reply(await asyncio.to_thread(store.change, image.id, object_id, revision, content))


@router.delete("/objects/{object_id}", status_code=204)
async def remove_object(image_id: str, object_id: str, shared: Shared, if_match: IfMatch = None) -> Response:
    """Remove an object whose revision is that of If-Match; else answer 409 with the object as it is in `current`."""
    image, store = shared.library.find(image_id), shared.require_store()
    await asyncio.to_thread(store.remove, image.id, object_id, _revision(if_match))
    return Response(status_code=204)


def _content(given: ObjectContent, shared: Services) -> dict[str, Any]:
    check_rings(given.polygons, shared.settings.limits.vertices)
    return given.model_dump(mode="json", by_alias=True, exclude={"id"})


def _revision(if_match: str | None) -> int:
    found = re.fullmatch(r'(?:W/)?"?(\d{1,18})"?', (if_match or "").strip())
    if found is None:
        raise Refusal(428, "If-Match: expected the revision of the object that was seen")
    return int(found[1])


def _reply(stored: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(stored, status, {"ETag": f'"{stored["revision"]}"'})
