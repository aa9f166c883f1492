"""Files of the accepted objects, in the formats of other tools."""

import functools
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from insight.data.formats.coco_writer import open_coco
from insight.data.formats.oriented_writers import write_dota
from insight.data.formats.yolo import write_yolo
from insight.runtime.file_names import safe_name

from .coco_content import coco_content
from .library import Library, ServedImage, has_rasters
from .refusal import Refusal
from .store import Store

FORMATS = ("coco", "yolo-seg", "yolo-obb", "dota", "geojson", "gpkg")


def export(kind: str, library: Library, store: Store, images: Sequence[ServedImage] | None, folder: Path) -> Path:
    """Write the accepted objects.

    Args:
        kind: one of FORMATS. "coco" is a JSON file; "yolo-seg", "yolo-obb" and "dota" a zip of label files, without
            the images; "geojson" (in EPSG:4326) and "gpkg" (in the CRS of the images) a file, or a zip of one for each
            image where they have no coordinates in common.
        library: the images.
        store: their objects.
        images: those to take; None for all that have objects or are done.
        folder: an empty one, to write in.

    Returns:
        The file.

    Raises:
        Refusal: the extra `geo` is missing.
        OSError: the disk is full.
    """
    if kind in ("geojson", "gpkg"):
        return _export_layers(kind, library, store, images, folder)
    content = coco_content(library, store, images)
    if kind == "coco":
        path = folder / "instances.json"
        with open_coco(path, content["categories"]) as coco:
            for image in content["images"]:
                coco.add_image(image)
            for annotation in content["annotations"]:
                coco.add(annotation)
        return path
    labels = folder / kind
    labels.mkdir()
    if kind == "dota":
        losses = write_dota(content, labels)
    else:
        losses = write_yolo(content, labels, kind)
    changed = {what: count for what, count in losses.items() if count and what != "images missing"}
    (labels / "README.txt").write_text(_readme(kind, changed), encoding="utf-8")
    return _zip(labels, folder / f"{kind}.zip")


def _readme(kind: str, changed: dict[str, int]) -> str:
    lines = [f"Objects in the format {kind}, without the images, written by insight.", ""]
    lines += [f"{what}: {count}" for what, count in changed.items()] or ["Nothing was lost or changed."]
    return "\n".join(lines) + "\n"


def _export_layers(
    kind: str, library: Library, store: Store, images: Sequence[ServedImage] | None, folder: Path
) -> Path:
    if not has_rasters():
        raise Refusal(501, f"{kind} needs the extra geo: pip install 'insight-seg[geo]'")
    import pandas

    from insight.geo.writers import write_layer

    names = store.classes()
    counts = store.counts()
    chosen = [image for image in library.images if image.id in counts] if images is None else images
    tables: dict[ServedImage, Any] = {}
    for image in chosen:
        tables[image] = _table(library, store, image, names, 1 + sum(map(len, tables.values())))
    tables = {image: table for image, table in tables.items() if len(table) or len(tables) == 1}
    if not tables:
        raise Refusal(404, "there are no accepted objects yet")
    systems = {table.crs for table in tables.values()}
    if len(tables) == 1 or None not in systems:
        common = systems.pop() if len(systems) == 1 else "EPSG:4326"
        moved = [table if table.crs in (None, common) else table.to_crs(common) for table in tables.values()]
        path = folder / f"objects.{kind}"
        write_layer(path, pandas.concat(moved, ignore_index=True), oriented_boxes=kind == "gpkg")
        return path
    layers = folder / kind
    layers.mkdir()
    for image, table in tables.items():
        write_layer(layers / safe_name(image.name, f".{kind}"), table, oriented_boxes=kind == "gpkg")
    return _zip(layers, folder / f"{kind}.zip")


def _table(library: Library, store: Store, image: ServedImage, names: list[str], first_id: int) -> Any:
    """The objects of an image as polygons on the map, or in pixels; numbered on, as images may share a file."""
    import numpy as np
    import shapely

    from insight.geo.features import feature_table
    from insight.geo.polygons import transform_polygons

    objects = [content for content in store.objects(image.id) if content["state"] == "accepted"]
    polygons = np.array([_polygon(content, shapely) for content in objects], object)
    transform, crs = library.georeference(image)
    if transform is not None and len(polygons):
        polygons = transform_polygons(polygons, transform)
    table = feature_table(
        polygons,
        crs,
        class_ids=[names.index(content["class"]) for content in objects],
        categories=names,
        scores=[float("nan") if content["score"] is None else content["score"] for content in objects],
        instance_ids=range(first_id, first_id + len(objects)),
    )
    table.insert(0, "image", [image.name] * len(table))
    return table


def _polygon(content: dict[str, Any], shapely: Any) -> Any:
    if content["polygons"]:
        from insight.geo.polygons import polygonal

        rings = [polygonal(shapely.make_valid(shapely.Polygon(ring))) for ring in content["polygons"]]
        return shapely.orient_polygons(functools.reduce(shapely.symmetric_difference, rings))
    if content["oriented_box"]:
        return shapely.orient_polygons(shapely.Polygon(content["oriented_box"]))
    if content["box"]:
        return shapely.box(*content["box"])
    return shapely.Polygon()


def _zip(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for found in sorted(folder.rglob("*")):
            if found.is_file():
                file.write(found, found.relative_to(folder).as_posix())
    shutil.rmtree(folder)
    return path
