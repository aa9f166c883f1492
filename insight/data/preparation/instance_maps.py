"""Read instances painted into a pair of pictures: one colour per instance in the first, one per class in the second."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from insight.data.formats.images import read_image
from insight.errors import InputError
from insight.structures.polygons import mask_to_polygons


@dataclass(frozen=True)
class Painting:
    """How a dataset paints its instances.

    Args:
        classes: names of the classes.
        colours: the RGB colour of each class in the class picture; (0, 0, 0) is background.
        first_id: least id of an instance, an id being R + 256 G + 65536 B in the instance picture; less is background.
    """

    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    first_id: int = 1


@dataclass(frozen=True)
class InstanceMap:
    """The instances of one image.

    Args:
        labels: (H, W) int32: 0 is background, i + 1 is instance i.
        classes: (N,) int64: class index of each instance.
        unlabelled: instances that were left out, as the class picture shows background where they are.
    """

    labels: np.ndarray
    classes: np.ndarray
    unlabelled: int

    def class_map(self, background: int) -> np.ndarray:
        """Return the class of each pixel, (H, W) uint8; `background` where there is no instance."""
        return np.append(self.classes, background).astype(np.uint8)[self.labels - 1]  # label 0 reads the last entry


def read_instance_map(id_file: Path, class_file: Path, painting: Painting) -> InstanceMap:
    """Read the two pictures of an image.

    The class of an instance is that of most of its pixels.

    Args:
        id_file: the instance picture.
        class_file: the class picture.
        painting: how they are painted.

    Returns:
        The instances, in order of their ids.

    Raises:
        OSError: a file is missing or cannot be read.
        InputError: the pictures differ in size, or the class picture shows a colour that is no class.
    """
    ids, colours = _packed(read_image(id_file)), _packed(read_image(class_file))
    if ids.shape != colours.shape:
        sizes = " and ".join(f"{w} x {h}" for h, w in (ids.shape, colours.shape))
        raise InputError(f"{id_file} and {class_file.name}: expected pictures of one size, got {sizes}")
    inside = ids >= painting.first_id
    known = np.array([0, *(r + 256 * g + 65536 * b for r, g, b in painting.colours)])
    order = np.argsort(known)
    colours = colours[inside]
    place = order[np.searchsorted(known, colours, sorter=order).clip(max=len(known) - 1)]
    strange = colours[known[place] != colours]
    if len(strange):
        rgb = (strange[0] % 256, strange[0] // 256 % 256, strange[0] // 65536)
        raise InputError(
            f"{class_file}: {len(strange)} pixels of instances have the colour of no class, first "
            f"({rgb[0]}, {rgb[1]}, {rgb[2]}); expected one of {len(painting.colours)}"
        )
    found, index = np.unique(ids[inside], return_inverse=True)
    votes = np.bincount(index * len(known) + place, minlength=len(found) * len(known)).reshape(-1, len(known))
    classes = votes.argmax(1) - 1
    kept = classes >= 0
    number = np.where(kept, kept.cumsum(), 0)
    labels = np.zeros(ids.shape, np.int32)
    labels[inside] = number[index]
    return InstanceMap(labels, classes[kept], int((~kept).sum()))


def cut_annotations(instances: InstanceMap, window: tuple[int, int, int, int]) -> tuple[list[dict], int]:
    """Convert the parts of instances inside a window to COCO annotations.

    As iSAID's development kit does, a piece is left out if one of its parts, connected by sides or corners, has no more
    than two pixels on its outline.

    Args:
        instances: of the whole image.
        window: (y0, y1, x0, x1), pixels of the image.

    Returns:
        Annotations in pixels of the window, without "id" and "image_id", category_id counting from 1; how many pieces
        were left out.

    Source: iSAID development kit, preprocess/preprocess.py.
    """
    y0, y1, x0, x1 = window
    labels = instances.labels[y0:y1, x0:x1]
    annotations, left_out = [], 0
    for label, (top, bottom, left, right) in instance_boxes(labels):
        mask = labels[top:bottom, left:right] == label
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if min(map(len, outlines)) <= 2:
            left_out += 1
            continue
        annotations.append(
            {
                "category_id": int(instances.classes[label - 1]) + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": int(mask.sum()),
                "segmentation": [p.ravel().tolist() for p in mask_to_polygons(mask, (left, top))],
                "iscrowd": 0,
            }
        )
    return annotations, left_out


def _packed(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB -> (H, W) int32, R + 256 G + 65536 B."""
    packed = image[:, :, 2].astype(np.int32)
    for band in (1, 0):  # Horner's scheme: one array of the image's size, and images are large
        packed *= 256
        packed += image[:, :, band]
    return packed


def instance_boxes(labels: np.ndarray) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    """Find where each label of an image is.

    Args:
        labels: (H, W) integers; 0 is background.

    Yields:
        Each label but 0 in ascending order, with the (top, bottom, left, right) of its pixels, ends exclusive.
    """
    rows, columns = np.nonzero(labels)
    values = labels[rows, columns]
    order = np.argsort(values, kind="stable")
    found, starts = np.unique(values[order], return_index=True)
    if not len(found):
        return
    edges = [reduce.reduceat(where[order], starts) for where in (rows, columns) for reduce in (np.minimum, np.maximum)]
    for label, top, bottom, left, right in zip(found.tolist(), *(edge.tolist() for edge in edges)):
        yield label, (top, bottom + 1, left, right + 1)
