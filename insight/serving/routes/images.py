"""The served images: their list, their tiles, and whether they are done."""

import asyncio
import io
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from PIL import Image

from insight.errors import InsightError

from ..library import TILE, ServedImage, tile_window
from ..refusal import Refusal
from ..schemas import Classes, Done, ImageInfo, Project
from ..services import Services, Shared

router = APIRouter(prefix="/api", tags=["images"])
_MOST_IMAGES = 1000


@router.get("/project")
async def project(shared: Shared) -> Project:
    """Return how many images there are and how many are done, the classes, and the models."""
    store = shared.require_store()

    def look() -> Project:
        shared.library.refresh()
        counts = store.counts()
        here = {image: found for image, found in counts.items() if image in shared.library}
        return Project(
            images=len(shared.library),
            done=sum(done for _, done in here.values()),
            objects=sum(count for count, _ in here.values()),
            classes=store.classes(),
            model=shared.models.choose("sopseg") if shared.models.has("sopseg") else None,
            detector=shared.models.choose("detector") if shared.models.has("detector") else None,
            tile_size=TILE,
        )

    return await asyncio.to_thread(look)


@router.put("/classes")
async def set_classes(classes: Classes, shared: Shared) -> Classes:
    """Set the names of the classes; one that objects have cannot be left out."""
    await asyncio.to_thread(shared.require_store().set_classes, classes.classes)
    return classes


@router.get("/images")
async def list_images(
    shared: Shared,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_IMAGES)] = 100,
) -> list[ImageInfo]:
    """List images by name."""
    store = shared.require_store()

    def look() -> list[ImageInfo]:
        counts = store.counts()
        return [_info(shared, image, counts) for image in shared.library.images[offset : offset + limit]]

    return await asyncio.to_thread(look)


@router.get("/images/{image_id}")
async def get_image(image_id: str, shared: Shared) -> ImageInfo:
    """Describe an image."""
    image, store = shared.library.find(image_id), shared.require_store()
    return await asyncio.to_thread(lambda: _info(shared, image, store.counts()))


@router.put("/images/{image_id}")
async def set_done(image_id: str, done: Done, shared: Shared) -> ImageInfo:
    """Note whether an image is done."""
    image, store = shared.library.find(image_id), shared.require_store()

    def note() -> ImageInfo:
        store.set_done(image.id, image.name, done.done)
        return _info(shared, image, store.counts())

    return await asyncio.to_thread(note)


@router.get("/images/{image_id}/tiles/{z}/{x}/{y}.jpg", response_class=Response)
async def tile(image_id: str, z: int, x: int, y: int, request: Request, shared: Shared) -> Response:
    """Return a tile of 256 x 256 pixels. At z = 0 one tile has the whole image; at the image's max_zoom a pixel is one.

    Tiles at the right and lower border are filled up with black.
    """
    image = shared.library.find(image_id)
    tag, data = await asyncio.to_thread(_tile, shared, image, z, x, y)
    headers = {"Cache-Control": "private, max-age=60", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="image/jpeg", headers=headers)


def _tile(shared: Services, image: ServedImage, z: int, x: int, y: int) -> tuple[str, bytes]:
    try:
        window, size = tile_window(shared.library.describe(image), z, x, y)
        key = (*shared.library.state(image), z, x, y)
        data = shared.tiles.get(key)
        if data is None:
            pixels = shared.library.open(image)
            picture = Image.new("RGB", (TILE, TILE))
            picture.paste(Image.fromarray(pixels.read(window, size)), (0, 0))
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=85)
            data = file.getvalue()
            shared.tiles.put(key, data, len(data))
    except OSError as error:
        raise Refusal(422, "the image cannot be read: it is truncated or damaged") from error
    return f'"{key[1]:x}-{key[2]:x}-{z}-{x}-{y}"', data


def _info(shared: Services, image: ServedImage, counts: dict[str, tuple[int, bool]]) -> ImageInfo:
    objects, done = counts.get(image.id, (0, False))
    about: dict[str, Any] = {"id": image.id, "name": image.name, "done": done, "objects": objects}
    try:
        found = shared.library.describe(image)
    except (OSError, InsightError, Refusal):
        return ImageInfo(**about, width=0, height=0, max_zoom=0, georeferenced=False, error="the image cannot be read")
    return ImageInfo(
        **about, width=found.width, height=found.height, max_zoom=found.max_zoom, georeferenced=found.georeferenced
    )
