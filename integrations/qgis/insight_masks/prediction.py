"""Masks of boxes and objects of a raster, window by window, from the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .client import Client
from .geometry import Ring, Window, bounds, group_boxes, on_map, parts, tiles

_TILE, _OVERLAP = 2048, 512  # pixels; an object that is larger than the overlap may be cut


def masks_of_boxes(
    raster: Any,
    client: Client,
    boxes: Sequence[Ring],
    *,
    oriented: bool,
    model: str = "",
    simplify: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[tuple[list[list[Ring]], float]]:
    """Ask for the masks of boxes.

    Args:
        raster: the raster.
        client: the server.
        boxes: corners of each, pixels of the raster.
        oriented: prompt with oriented boxes instead of the bounds of each.
        model: its name; "" for the server's default.
        simplify: how far outlines may move to have fewer corners, pixels.
        progress: called with the number of boxes that are answered and of all.

    Returns:
        For each box the parts of its object on the map, and a score; no parts for an empty mask.
    """
    found: list[Any] = [None] * len(boxes)
    done = 0
    for window, members in group_boxes(boxes, raster.size):
        image, scale = raster.picture(window)
        local = [[((x - window[0]) * scale, (y - window[1]) * scale) for x, y in boxes[i]] for i in members]
        prompts = {"oriented_boxes": local} if oriented else {"boxes": [bounds(corners) for corners in local]}
        instances = client.predict(image, {**prompts, **_options(model, simplify * scale)})
        for i, instance in zip(members, instances):
            found[i] = _placed(raster, instance, window, scale), float(instance["score"])
        done += len(members)
        progress(done, len(boxes))
    return found


def objects_of(
    raster: Any,
    client: Client,
    window: Window,
    *,
    model: str = "",
    simplify: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[list[list[Ring]], str, float]]:
    """Ask for the objects in a window of a raster.

    Args:
        raster, client, model, simplify: as in `masks_of_boxes`.
        window: what to search, pixels.
        progress: called with the number of tiles that are searched and of all.

    Yields:
        The parts of an object on the map, its class and its score.
    """
    grid = tiles(window, _TILE, _OVERLAP)
    for number, (tile, core) in enumerate(grid, 1):
        image, scale = raster.picture(tile)
        for instance in client.predict(image, _options(model, simplify * scale)):
            x0, y0, x1, y1 = instance["box"]
            x, y = tile[0] + (x0 + x1) / 2 / scale, tile[1] + (y0 + y1) / 2 / scale
            if core[0] <= x < core[2] and core[1] <= y < core[3]:
                yield _placed(raster, instance, tile, scale), str(instance["class"]), float(instance["score"])
        progress(number, len(grid))


def _options(model: str, simplify: float) -> dict[str, Any]:
    return {"format": "polygons", "simplify": simplify, **({"model": model} if model else {})}


def _placed(raster: Any, instance: dict[str, Any], window: Window, scale: float) -> list[list[Ring]]:
    moved = [[(x / scale + window[0], y / scale + window[1]) for x, y in ring] for ring in instance["polygons"] or []]
    return on_map(raster.geotransform, parts(moved))
