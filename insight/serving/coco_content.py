"""The accepted objects of the store as a COCO dictionary."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from insight.structures.rle import rle_area, rle_box

from .library import Library, ServedImage
from .outlines import coco_segmentation, rings_to_mask
from .store import Store

FROM_ANNOTATE = "annotate-"  # ids of objects that an annotation run made, before the id of their box


def coco_content(
    library: Library,
    store: Store,
    images: Sequence[ServedImage] | None = None,
    category_ids: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make a COCO dictionary of the accepted objects.

    Args:
        library: the images.
        store: their objects.
        images: those to take; None for all that have objects or are done.
        category_ids: ids of classes that have one already; the others follow.

    Returns:
        images, annotations and categories. An object without polygons has its box alone; "oriented_box" has 8 numbers.
        Objects that an annotation run made keep its ids.
    """
    counts = store.counts()
    chosen = [image for image in library.images if image.id in counts] if images is None else images
    ids = dict(category_ids or {})
    entries, annotations = [], []
    for number, image in enumerate(chosen, 1):
        about = library.describe(image)
        size = (about.height, about.width)
        entries.append({"id": number, "file_name": image.name, "height": about.height, "width": about.width})
        for content in store.objects(image.id):
            if content["state"] == "accepted":
                annotations.append((content, {"image_id": number, **_annotation(content, size)}))
    for name in dict.fromkeys([*store.classes(), *(content["class"] for content, _ in annotations)]):
        ids.setdefault(name, max((i for i in ids.values() if isinstance(i, int)), default=0) + 1)
    identifiers = _ids([content["id"] for content, _ in annotations])
    finished = [
        {"id": identifier, "category_id": ids[content["class"]], **fields}
        for (content, fields), identifier in zip(annotations, identifiers)
    ]
    return {
        "images": entries,
        "annotations": finished,
        "categories": [{"id": identifier, "name": name} for name, identifier in ids.items()],
    }


def _annotation(content: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    fields: dict[str, Any] = {"iscrowd": 0}
    if content["polygons"]:
        code = rings_to_mask(content["polygons"], size)
        fields |= {
            "bbox": rle_box(code),
            "area": rle_area(code),
            "segmentation": coco_segmentation(content["polygons"], size),
        }
    else:
        outline = content["oriented_box"] or content["box"] or content["points"]
        corners = np.asarray(outline, float).reshape(-1, 2)
        low, high = corners.min(0), corners.max(0)
        width, height = (high - low).tolist()
        fields |= {"bbox": [*low.tolist(), width, height], "area": width * height}
    if content["oriented_box"]:
        fields["oriented_box"] = [value for corner in content["oriented_box"] for value in corner]
    if content["score"] is not None:
        fields["score"] = content["score"]
    return fields


def _ids(stored: Sequence[str]) -> list[int] | list[str]:
    """Ids of annotations: those of the run, the others following; all of them integers, or all of them strings."""
    given = [one.removeprefix(FROM_ANNOTATE) if one.startswith(FROM_ANNOTATE) else None for one in stored]
    taken = {one for one in given if one is not None}
    numbers = [int(one) for one in taken if one.isdecimal() and str(int(one)) == one]
    following = itertools.count(max(numbers, default=0) + 1)
    ids = [str(next(following)) if one is None else one for one in given]
    return [int(one) for one in ids] if len(numbers) == len(taken) else ids
