"""CVAT's XML, version 1.1 "for images"."""

from collections import Counter
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from insight.runtime.atomic_files import atomic_write

from .objects import box_corners_of, is_rotated, mask_crop, mask_outlines, objects_by_image


def write_cvat(content: dict[str, Any], path: Path) -> Counter[str]:
    """Write a CVAT XML file, which CVAT imports into a task with the same images.

    An object of one part without holes becomes a polygon, any other mask a mask; an object without mask a box, rotated
    by its rotation.

    Args:
        content: a COCO dictionary, as `read_coco` returns it.
        path: the .xml file.

    Returns:
        What was lost or changed, with the number of objects, for people.

    Raises:
        OSError: the file cannot be written.

    Source: CVAT's documentation of its XML format; runs of a mask go along its rows and start with the background.
    """
    losses: Counter[str] = Counter()
    names = {category["id"]: category["name"] for category in content["categories"]}
    by_image = objects_by_image(content, losses, one_shape=True)
    with atomic_write(path) as file:
        file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task><labels>\n'
        )
        file.writelines(f"<label><name>{escape(name)}</name></label>\n" for name in names.values())
        file.write("</labels></task></meta>\n")
        for number, image in enumerate(content["images"]):
            size = (image["height"], image["width"])
            file.write(
                f'<image id="{number}" name={quoteattr(image["file_name"])} width="{size[1]}" height="{size[0]}">\n'
            )
            for annotation in by_image[image["id"]]:
                label = quoteattr(names[annotation["category_id"]])
                file.write(
                    _shape(annotation, size).format(common=f'label={label} source="auto" occluded="0" z_order="0"')
                )
            file.write("</image>\n")
        file.write("</annotations>\n")
    return losses


def _shape(annotation: dict[str, Any], size: tuple[int, int]) -> str:
    outlines, holes = mask_outlines(annotation, size)
    if len(outlines) == 1 and not holes:
        points = ";".join(f"{x:.2f},{y:.2f}" for x, y in outlines[0])
        return f'<polygon {{common}} points="{points}"></polygon>\n'
    if outlines:
        crop, (x, y) = mask_crop(annotation, size)
        height, width = crop.shape
        flat = np.concatenate([[False], crop.ravel()])
        starts = np.flatnonzero(flat[1:] != flat[:-1])
        runs = ", ".join(map(str, np.diff(np.concatenate([[0], starts, [crop.size]])).tolist()))
        place = f'left="{x}" top="{y}" width="{width}" height="{height}"'
        return f'<mask {{common}} rle="{runs}" {place}></mask>\n'
    corners, _ = box_corners_of(annotation, size)
    if not is_rotated(corners):
        (x1, y1), (x2, y2), angle = corners.min(0), corners.max(0), 0.0
    else:
        along, down = corners[1] - corners[0], corners[2] - corners[1]
        half = np.array([np.hypot(*along), np.hypot(*down)]) / 2
        (x1, y1), (x2, y2) = corners.mean(0) - half, corners.mean(0) + half
        angle = float(np.degrees(np.arctan2(along[1], along[0]))) % 360  # clockwise, as y points down
    rotation = f' rotation="{angle:.4f}"' if angle else ""
    return f'<box {{common}} xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}"{rotation}></box>\n'
