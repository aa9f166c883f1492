"""Statistics of a dataset: numbers and sizes of objects."""

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from tabulate import tabulate

from insight.data.datasets import require_registered
from insight.runtime.words import counted
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.rle import rle_area, segmentation_to_rle

_SMALL = 32**2  # pixels, as COCO has it


def describe_dataset(name: str) -> str:
    """Describe a dataset: numbers of images and, by class, of objects, and their sizes.

    The size of an object is the square root of the area of its mask; without one, of its oriented box or its box.

    Args:
        name: registered dataset.

    Returns:
        Lines of text with a table.

    Raises:
        InputError: the dataset is unknown or cannot be loaded.
    """
    require_registered([name], "name")
    dicts = DatasetCatalog.get(name)
    names = MetadataCatalog.get(name).thing_classes
    sizes: list[list[float]] = [[] for _ in names]
    images = [0] * len(names)
    for entry in dicts:
        for annotation in entry["annotations"]:
            area = object_area(annotation, (entry["height"], entry["width"]))
            sizes[annotation["category_id"]].append(area**0.5)
        for label in {annotation["category_id"] for annotation in entry["annotations"]}:
            images[label] += 1
    rows = [_row(*row) for row in zip(names, images, sizes)]
    rows.append(_row("all", sum(bool(e["annotations"]) for e in dicts), [s for part in sizes for s in part]))
    extents = sorted({(e["width"], e["height"]) for e in dicts}, key=lambda size: size[0] * size[1])
    smallest, largest = (f"{w} x {h}" for w, h in (extents[0], extents[-1]))
    header = ("class", "objects", "images", "median size", "5 % to 95 %", f"under {_SMALL**0.5:.0f} pixels")
    return "\n".join(
        [
            f"{name}: {counted(len(dicts), 'image')}, {smallest} to {largest} pixels",
            tabulate(rows, header, "simple", colalign=("left",) + ("right",) * 5),
            "size: square root of an object's area, pixels",
        ]
    )


def object_area(annotation: dict, size: tuple[int, int]) -> float:
    """Compute the area of an object.

    Args:
        annotation: annotation of a Detectron2 dataset dict.
        size: (height, width) of its image.

    Returns:
        Square pixels: of the mask, or else of the oriented box, or else of the box.
    """
    mask = annotation.get("segmentation")
    if mask:
        return float(rle_area(segmentation_to_rle(mask, size)))
    if "oriented_box" in annotation:
        x, y = oriented_corners([annotation["oriented_box"]])[0].double().numpy().T
        return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    _, _, width, height = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYWH_ABS)
    return float(width * height)


def _row(name: str, images: int, sizes: list[float]) -> tuple:
    if not sizes:
        return (name, 0, images, "", "", "")
    low, median, high = np.percentile(sizes, (5, 50, 95))
    small = np.mean(np.square(sizes) < _SMALL)
    return (name, len(sizes), images, f"{median:.1f}", f"{low:.1f} to {high:.1f}", f"{100 * small:.1f} %")
