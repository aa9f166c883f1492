"""Predictions on images that are uploaded, served, or at an allowed URL."""

import asyncio
import io
import time
from itertools import chain
from typing import Any

import torch
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from insight.inference import prediction as results
from insight.inference.classes import label_classes
from insight.runtime.json_values import parse_json
from insight.structures.boxes import refuse_normalized
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.rle import RLEMasks, masks_to_rle

from ..images_of_requests import fetch, from_bytes, from_text
from ..outlines import mask_outline
from ..pixels import Pixels
from ..refusal import Refusal
from ..replies import refusal_of, sentence
from ..schemas import Prediction, PredictRequest
from ..segmenter import Mask, Prompt
from ..services import PixelSource, Services, Shared
from ..x_anylabeling import XAnyLabelingRequest, to_prompts, to_shapes

router = APIRouter(tags=["predict"])
_IN_THREAD = 1 << 18  # bytes: larger bodies are parsed in a thread
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": PredictRequest.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "the image file"},
                        "request": {
                            "type": "string",
                            "description": "JSON of the other fields",
                            "examples": ['{"boxes": [[10, 20, 50, 60]]}'],
                        },
                    },
                }
            },
        },
    }
}


@router.post("/v1/predict", response_model=Prediction, openapi_extra=_BODY)
async def predict(request: Request, shared: Shared) -> Response:
    """Segment the objects indicated by boxes, oriented boxes or points; without any, find objects.

    A body with `params` is a request of X-AnyLabeling, and answered in its form.
    """
    shared.worker.require_room()
    upload, body = await _read(request)
    if upload is None and isinstance(body, dict) and "params" in body:
        return await _for_x_anylabeling(body, shared)
    asked = await _parsed(PredictRequest, body)
    start = time.monotonic()
    source = await _source(asked, upload, shared)
    prompts = _prompts(asked)
    if prompts:
        shared.require_few(prompts)
        _refuse_normalized(asked)
        model = shared.models.choose("sopseg", asked.model)
        masks, pixels = await shared.segment(model, source, prompts)
        found = _prediction(asked, prompts, masks, pixels)
    else:
        model = shared.models.choose("detector", asked.model)
        found, pixels = await _detected(shared, model, source)
    return await asyncio.to_thread(_reply, asked, found, model, (time.monotonic() - start) * 1000, shared)


async def _read(request: Request) -> tuple[bytes | None, Any]:
    """The uploaded file, if there is one, and the JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=4) as form:
            image, text = form.get("image"), form.get("request", "{}")
            if not isinstance(image, UploadFile) or not isinstance(text, str):
                raise Refusal(422, "expected a file in the field image, and JSON in the field request")
            return await image.read(), parse_json(text, "request")
    if kind != "application/json":
        raise Refusal(415, "expected application/json or multipart/form-data")
    data = await request.body()
    if len(data) > _IN_THREAD:
        return None, await asyncio.to_thread(parse_json, data, "body")
    return None, parse_json(data, "body")


async def _parsed(kind: type[BaseModel], body: Any) -> Any:
    try:
        return await asyncio.to_thread(kind.model_validate, body)
    except ValidationError as error:
        raise Refusal(422, sentence(error.errors())) from None


async def _source(asked: PredictRequest, upload: bytes | None, shared: Services) -> PixelSource:
    given = [name for name in ("image", "image_id", "image_url") if getattr(asked, name) is not None]
    if len(given) + (upload is not None) != 1:
        raise Refusal(422, "expected one image: an upload, image (base64), image_id or image_url")
    limits = shared.settings.limits
    if asked.image_id is not None:
        return shared.served(shared.library.find(asked.image_id))
    if asked.image_url is not None:
        upload = await asyncio.to_thread(fetch, asked.image_url, shared.settings.allowed_urls, limits)
    elif asked.image is not None:
        upload = await asyncio.to_thread(from_text, asked.image, limits)
    assert upload is not None
    return await asyncio.to_thread(from_bytes, upload, limits)


def _prompts(asked: PredictRequest) -> list[Prompt]:
    points, labels = asked.points, asked.labels
    if len(points) != len(labels):
        raise Refusal(422, f"labels: expected {len(points)} lists, one for each of points, got {len(labels)}")
    if points and asked.oriented_boxes:
        raise Refusal(422, "points: expected none with oriented_boxes; segment those objects one by one")
    if points and asked.boxes and len(points) != len(asked.boxes):
        raise Refusal(422, f"points: expected {len(asked.boxes)} lists, one for each box, got {len(points)}")
    count = len(asked.boxes) or len(points)
    boxes: list[Any] = list(asked.boxes) or [None] * count
    padded = zip(points or [[]] * count, labels or [[]] * count, boxes)
    prompts = [Prompt(box=box, points=p, labels=la) for p, la, box in padded]
    return prompts + [Prompt(oriented_box=box) for box in asked.oriented_boxes]


def _refuse_normalized(asked: PredictRequest) -> None:
    """Refuse normalised coordinates, since a client over HTTP sees no warning."""
    oriented = (box[:4] if len(box) == 5 else chain(*box) for box in asked.oriented_boxes)  # without the angle
    given = {
        "boxes": list(chain(*asked.boxes)),
        "oriented_boxes": list(chain(*oriented)),
        "points": list(chain(*chain(*asked.points))),
    }
    given = {name: values for name, values in given.items() if values}
    if given:
        refuse_normalized(torch.tensor(list(chain(*given.values()))), " and ".join(given))


def _prediction(asked: PredictRequest, prompts: list[Prompt], masks: list[Mask], pixels: Pixels) -> results.Prediction:
    coded = RLEMasks([mask.code for mask in masks], pixels.size)
    boxes = coded.boxes().float()
    corners = torch.full((len(prompts), 4, 2), float("nan"))
    for i, prompt in enumerate(prompts):
        if prompt.box is not None:
            boxes[i] = torch.tensor(prompt.box)
        elif prompt.oriented_box is not None:
            corners[i] = oriented_corners([prompt.oriented_box])[0]
            boxes[i] = torch.cat([corners[i].amin(0), corners[i].amax(0)])
    class_ids, categories = (None, ["object"]) if asked.classes is None else label_classes(asked.classes, len(prompts))
    return results.Prediction(
        pixels.size,
        boxes=boxes,
        scores=torch.tensor([mask.score for mask in masks]),
        masks=coded,
        oriented_boxes=corners if asked.oriented_boxes else None,
        class_ids=class_ids,
        categories=categories,
    )


async def _detected(shared: Services, model: str, source: PixelSource) -> tuple[results.Prediction, Pixels]:
    found, pixels = await shared.detect(model, source)
    names = list(dict.fromkeys(name for name, *_ in found)) or ["object"]
    return results.Prediction(
        pixels.size,
        boxes=torch.tensor([box for *_, box in found]).reshape(-1, 4),
        scores=torch.tensor([score for _, score, *_ in found]),
        masks=RLEMasks([code for _, _, code, _ in found], pixels.size)
        if all(code is not None for _, _, code, _ in found)
        else None,
        class_ids=torch.tensor([names.index(name) for name, *_ in found], dtype=torch.int64),
        categories=names,
    ), pixels


def _reply(asked: PredictRequest, found: results.Prediction, model: str, ms: float, shared: Services) -> Response:
    try:
        if asked.format == "png":
            file = io.BytesIO()
            Image.fromarray(found.label_map()).save(file, "PNG")
            return Response(file.getvalue(), media_type="image/png")
        if asked.format == "geojson":
            transform = crs = None
            if asked.image_id is not None:
                transform, crs = shared.library.georeference(shared.library.find(asked.image_id))
            table = found.to_geodataframe(transform, crs, simplify=asked.simplify)
            table = table.to_crs(4326) if crs is not None else table
            return Response(table.to_json(), media_type="application/geo+json")
    except Exception as error:
        raise refusal_of(error) from error
    height, width = found.image_size
    masks = masks_to_rle(found.masks) if found.masks is not None else [None] * len(found)
    instances = []
    for i, (code, box) in enumerate(zip(masks, found.boxes.tolist())):
        one = {"class": found.class_names[i], "score": round(float(found.scores[i]), 5), "box": box}
        if asked.format == "rle":
            one["rle"] = code
        else:
            one["polygons"] = [] if code is None else mask_outline(code, asked.simplify)
        instances.append(one)
    content = {"width": width, "height": height, "model": model, "ms": round(ms, 1), "instances": instances}
    return JSONResponse(content)


async def _for_x_anylabeling(body: dict[str, Any], shared: Services) -> Response:
    """Errors are answered with status 200, as the client expects them, but for a full queue."""
    try:
        asked = await _parsed(XAnyLabelingRequest, body)
        folder = shared.models.folders.get(asked.model)
        if folder is None:
            return _failure("MODEL_NOT_FOUND", f"Model '{asked.model:.100}' not loaded")
        data = await asyncio.to_thread(from_text, asked.image, shared.settings.limits)
        source = await asyncio.to_thread(from_bytes, data, shared.settings.limits)
        if folder.kind == "sopseg":
            prompts = to_prompts(asked.params.marks)
            masks = (await shared.segment(folder.name, source, prompts))[0] if prompts else []
            found: list[tuple[Any, float, str | None]] = [(mask.code, mask.score, None) for mask in masks]
        else:
            detected, _ = await _detected(shared, folder.name, source)
            least = max(asked.params.conf_threshold, folder.score_threshold)
            scored = zip(detected.masks or [], detected.scores.tolist(), detected.class_names)
            found = [(code, score, name) for code, score, name in scored if score >= least]
    except Exception as error:
        refusal = refusal_of(error)
        if refusal.status_code == 503:
            raise refusal from error
        about_image = str(refusal.detail).startswith(("the image", "image:"))
        code = "INVALID_IMAGE" if about_image else "INFERENCE_ERROR"
        return _failure(code, str(refusal.detail))
    shapes = [s for code, score, name in found for s in to_shapes(code, score, name, asked.params.epsilon_factor)]
    result: dict[str, Any] = {"shapes": shapes, "description": ""}
    if folder.kind == "sopseg":
        result["replace"] = False  # an object more, in place of none
    return JSONResponse({"success": True, "data": result})


def _failure(code: str, message: str) -> Response:
    return JSONResponse({"success": False, "error": {"code": code, "message": message}, "data": {"shapes": []}})
